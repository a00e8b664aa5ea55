"""The list of runs: what feeds it, how it is ordered, what a row says, how it is drawn."""

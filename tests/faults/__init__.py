"""Faults on purpose: what is lost, killed, torn, full or forged, and what the run and its reader make of it.

``python -m tests.faults --fault NAME --trials N [--from N] [--jobs N]`` runs a portion and appends one JSON line a
trial to the results file; ``python -m tests.faults --sum`` prints the table of everything that was run. Each trial is
determined by its number, so portions add up. A representative part runs under pytest (marker ``faults``).
"""

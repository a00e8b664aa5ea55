"""One run whole, and several beside each other: pages over what the history reads from any tool's directory."""

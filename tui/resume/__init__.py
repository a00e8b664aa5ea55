"""The dialog that goes on with a run: what is typed, and what is said of it."""

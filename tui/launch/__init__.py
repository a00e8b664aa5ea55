"""The launch form: its model, its list of settings, the side pane, dialogs, and the way to a started run."""

"""The cost sheet of the form: what a run would need, worked out while the settings are being filled in."""

"""The terminal app of tunedeck (Textual). Imports the records of ``engine``; never a heavy library."""

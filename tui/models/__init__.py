"""The model picker: what models there are, what is known of each, and consent to code that comes with one."""

"""The commands in bin/, one module each."""

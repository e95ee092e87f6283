"""The extension hosted in this process, for commands and tests."""

"""Runs the commands that the documentation prints; see `scripts/doc_commands.py`."""

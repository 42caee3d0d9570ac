"""The losses of the networks, one idea per file."""

"""Simpler decoders after published systems, for `evaluate` to compare with on the same data."""

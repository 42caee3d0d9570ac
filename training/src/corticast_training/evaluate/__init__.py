"""Measures how well a model decodes."""

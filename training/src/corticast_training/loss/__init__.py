"""What the networks are trained on: one idea per file."""

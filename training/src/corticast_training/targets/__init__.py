"""Targets: what the networks learn to decode, made from frames and captions."""

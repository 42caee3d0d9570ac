"""Models, and how they are fitted."""

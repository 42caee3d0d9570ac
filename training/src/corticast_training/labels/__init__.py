"""What a window is about: labels from events."""

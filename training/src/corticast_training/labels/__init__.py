"""What a window is about: labels from events, and of clips from models that look at them."""

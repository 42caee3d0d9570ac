"""Labels: of windows from events, and of clips from models that look at them."""

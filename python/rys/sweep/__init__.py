"""Try many layer paths on one model, and tell which of them make it better."""

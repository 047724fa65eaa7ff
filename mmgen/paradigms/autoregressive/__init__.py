"""One token, step or frame after the other."""

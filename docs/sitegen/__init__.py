"""What `docs/hooks.py` makes from the code: a file a kind of page."""

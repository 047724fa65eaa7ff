"""Data sets of speech, without Lightning."""

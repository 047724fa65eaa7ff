"""Data sets of video, without Lightning."""

"""Data sets of image, without Lightning."""

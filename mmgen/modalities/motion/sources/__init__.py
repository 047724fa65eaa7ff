"""Data sets of motion, without Lightning."""

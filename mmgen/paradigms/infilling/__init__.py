"""Spans are moved to the end of the row and filled in."""

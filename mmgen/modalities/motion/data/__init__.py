"""Data modules of motion."""

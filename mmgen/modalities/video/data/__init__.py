"""Data modules of video."""

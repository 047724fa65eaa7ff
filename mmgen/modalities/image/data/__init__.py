"""Data modules of image."""

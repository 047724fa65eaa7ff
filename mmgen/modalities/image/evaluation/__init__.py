"""Metrics of image."""

"""Metrics of video."""

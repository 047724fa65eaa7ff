"""Metrics of motion."""

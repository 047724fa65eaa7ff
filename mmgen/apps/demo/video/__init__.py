"""The demo of clips."""

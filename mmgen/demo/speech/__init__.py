"""The demo of speech."""

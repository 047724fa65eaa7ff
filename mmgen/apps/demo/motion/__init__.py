"""The demo of motions."""

"""The demo of images."""

"""Tokenizers of image."""

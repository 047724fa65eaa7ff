"""Tokenizers of speech."""

"""Tokenizers of motion."""

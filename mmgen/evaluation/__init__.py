"""Measuring tokenizers and generators. Importing this package imports nothing heavy."""

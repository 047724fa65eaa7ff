"""Corruption in continuous time and the way back."""

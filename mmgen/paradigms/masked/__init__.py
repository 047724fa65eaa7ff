"""Hidden tokens are revealed in a few steps."""

"""What a page says of speech."""

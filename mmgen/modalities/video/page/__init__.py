"""What a page says of clips."""

"""What a page says of motions."""

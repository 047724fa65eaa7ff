"""What a page says of images."""

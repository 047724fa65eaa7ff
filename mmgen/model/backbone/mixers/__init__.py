"""What mixes the positions of a row: one class a file, attention by default."""

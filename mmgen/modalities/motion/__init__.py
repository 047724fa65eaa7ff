"""Motion of people."""

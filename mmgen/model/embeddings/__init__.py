"""What is embedded: tokens, positions, and numbers such as noise levels."""

"""The backbone made quick on a CPU: packed blocks for sampling, and attention by groups."""

"""The network: embeddings, conditions, one backbone, heads, and the generator that holds them."""

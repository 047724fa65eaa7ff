"""Autoregression over blocks, diffusion inside a block."""

"""Tokenizers: raw samples to tokens and back."""

from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.image import ConvImageTokenizer

__all__ = ["ConvImageTokenizer", "Reconstruction", "Tokenizer"]

"""Tokenizers: raw samples to tokens and back. Here is what modalities share; their own lie with them."""

from mmgen.tokenizers.base import Reconstruction, TimedTokenizer, Tokenizer, TokenizerStream
from mmgen.tokenizers.quantized import QuantizedTokenizer
from mmgen.tokenizers.vit import ViT

__all__ = ["QuantizedTokenizer", "Reconstruction", "TimedTokenizer", "Tokenizer", "TokenizerStream", "ViT"]

"""Tokenizers: raw samples to tokens and back. Here is what modalities share; their own lie with them."""

from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.timed import TimedTokenizer
from mmgen.tokenizers.video import VideoTokenizer
from mmgen.tokenizers.vit import ViT

__all__ = ["Reconstruction", "TimedTokenizer", "Tokenizer", "TokenizerStream", "ViT", "VideoTokenizer"]

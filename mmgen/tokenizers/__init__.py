"""Tokenizers: raw samples to tokens and back."""

from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.causal_conv import CausalConvTokenizer
from mmgen.tokenizers.image import ConvImageTokenizer
from mmgen.tokenizers.kl import KLImageTokenizer
from mmgen.tokenizers.pretrained import DiffusersTokenizer
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.video import VideoTokenizer
from mmgen.tokenizers.vit import ViTTokenizer
from mmgen.tokenizers.vqgan import VQGANTokenizer

__all__ = [
    "CausalConvTokenizer",
    "ConvImageTokenizer",
    "DiffusersTokenizer",
    "KLImageTokenizer",
    "Reconstruction",
    "Tokenizer",
    "TokenizerStream",
    "VQGANTokenizer",
    "ViTTokenizer",
    "VideoTokenizer",
]

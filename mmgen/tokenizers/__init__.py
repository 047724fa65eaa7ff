"""Tokenizers: raw samples to tokens and back."""

from mmgen.tokenizers.audio import AudioTokenizer
from mmgen.tokenizers.base import Reconstruction, Tokenizer
from mmgen.tokenizers.causal_conv import CausalConvTokenizer
from mmgen.tokenizers.codec import SEANetCodec
from mmgen.tokenizers.image import ConvImageTokenizer
from mmgen.tokenizers.kl import KLImageTokenizer
from mmgen.tokenizers.mel import MelTokenizer
from mmgen.tokenizers.motion import MotionTokenizer
from mmgen.tokenizers.pretrained import DiffusersTokenizer
from mmgen.tokenizers.pretrained_audio import TransformersCodec
from mmgen.tokenizers.stream import TokenizerStream
from mmgen.tokenizers.timed import TimedTokenizer
from mmgen.tokenizers.video import VideoTokenizer
from mmgen.tokenizers.vit import ViTTokenizer
from mmgen.tokenizers.vocoder import GriffinLim, Vocoder, Vocos
from mmgen.tokenizers.vqgan import VQGANTokenizer

__all__ = [
    "AudioTokenizer",
    "CausalConvTokenizer",
    "ConvImageTokenizer",
    "DiffusersTokenizer",
    "GriffinLim",
    "KLImageTokenizer",
    "MelTokenizer",
    "MotionTokenizer",
    "Reconstruction",
    "SEANetCodec",
    "TimedTokenizer",
    "Tokenizer",
    "TokenizerStream",
    "TransformersCodec",
    "VQGANTokenizer",
    "ViTTokenizer",
    "VideoTokenizer",
    "Vocoder",
    "Vocos",
]

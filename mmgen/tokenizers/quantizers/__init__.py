"""Bottlenecks: vectors to integers and back with a straight-through gradient, or to continuous tokens."""

from mmgen.tokenizers.quantizers.base import Quantized, Quantizer
from mmgen.tokenizers.quantizers.binary import BSQ, LFQ
from mmgen.tokenizers.quantizers.fsq import FSQ
from mmgen.tokenizers.quantizers.gaussian import Gaussian
from mmgen.tokenizers.quantizers.residual import ResidualVQ
from mmgen.tokenizers.quantizers.vq import VQ

__all__ = ["BSQ", "FSQ", "LFQ", "VQ", "Gaussian", "Quantized", "Quantizer", "ResidualVQ"]

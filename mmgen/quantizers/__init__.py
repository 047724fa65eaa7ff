"""Bottlenecks: vectors to integers and back with a straight-through gradient, or to continuous tokens."""

from mmgen.quantizers.base import Quantized, Quantizer
from mmgen.quantizers.bsq import BSQ
from mmgen.quantizers.fsq import FSQ
from mmgen.quantizers.gaussian import Gaussian
from mmgen.quantizers.lfq import LFQ
from mmgen.quantizers.residual import ResidualVQ
from mmgen.quantizers.vq import VQ

__all__ = ["BSQ", "FSQ", "LFQ", "VQ", "Gaussian", "Quantized", "Quantizer", "ResidualVQ"]

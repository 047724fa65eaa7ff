"""Quantizers: vectors to integers and back, with a straight-through gradient."""

from mmgen.quantizers.base import Quantized, Quantizer
from mmgen.quantizers.bsq import BSQ
from mmgen.quantizers.fsq import FSQ
from mmgen.quantizers.lfq import LFQ
from mmgen.quantizers.residual import ResidualVQ
from mmgen.quantizers.vq import VQ

__all__ = ["BSQ", "FSQ", "LFQ", "VQ", "Quantized", "Quantizer", "ResidualVQ"]

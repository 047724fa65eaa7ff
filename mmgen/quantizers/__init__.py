"""Quantizers: vectors to integers and back, with a straight-through gradient."""

from mmgen.quantizers.base import Quantized, Quantizer
from mmgen.quantizers.bsq import BSQ
from mmgen.quantizers.vq import VQ

__all__ = ["BSQ", "VQ", "Quantized", "Quantizer"]

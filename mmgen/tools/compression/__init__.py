"""Lossless compression of tokens under an autoregressive prior."""

from mmgen.tools.compression.codec import Compressed, compress, decompress
from mmgen.tools.compression.container import Container, parse, read_container
from mmgen.tools.compression.prior import autoregressive_mode

__all__ = ["Compressed", "Container", "autoregressive_mode", "compress", "decompress", "parse", "read_container"]

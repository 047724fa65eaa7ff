"""The ties between training and sampling, a file each."""

from mmgen.paradigms.autoregressive import Autoregressive
from mmgen.paradigms.base import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.block_diffusion import BlockDiffusion
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import Guidance
from mmgen.paradigms.masked import Masked
from mmgen.paradigms.mixture import Mixture

__all__ = [
    "Autoregressive",
    "BlockDiffusion",
    "Decoding",
    "Guidance",
    "Masked",
    "Mixture",
    "Paradigm",
    "Request",
    "SampleOptions",
    "State",
]

"""The ties between training and sampling, a file each."""

from mmgen.paradigms.autoregressive import Autoregressive
from mmgen.paradigms.base import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.block_diffusion import BlockDiffusion
from mmgen.paradigms.codebooks import CodebookAutoregressive
from mmgen.paradigms.continuous_block_diffusion import ContinuousBlockDiffusion
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.frame_autoregressive import FrameAutoregressive
from mmgen.paradigms.guidance import Guidance
from mmgen.paradigms.hierarchical import Hierarchical
from mmgen.paradigms.masked import Masked
from mmgen.paradigms.masked_codebooks import MaskedCodebooks
from mmgen.paradigms.masked_diffusion import MaskedDiffusion
from mmgen.paradigms.mixture import Mixture
from mmgen.paradigms.noise import DDPM, Flow, NoiseProcess
from mmgen.paradigms.permuted import Permuted
from mmgen.paradigms.span_infill import SpanInfill

__all__ = [
    "DDPM",
    "Autoregressive",
    "BlockDiffusion",
    "CodebookAutoregressive",
    "ContinuousBlockDiffusion",
    "Decoding",
    "Flow",
    "FrameAutoregressive",
    "Guidance",
    "Hierarchical",
    "Masked",
    "MaskedCodebooks",
    "MaskedDiffusion",
    "Mixture",
    "NoiseProcess",
    "Paradigm",
    "Permuted",
    "Request",
    "SampleOptions",
    "SpanInfill",
    "State",
]

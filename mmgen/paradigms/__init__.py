"""The ties between training and sampling, a file each."""

from mmgen.paradigms.autoregressive.codebooks import CodebookAutoregressive
from mmgen.paradigms.autoregressive.frames import FrameAutoregressive
from mmgen.paradigms.autoregressive.hierarchical import Hierarchical
from mmgen.paradigms.autoregressive.tokens import Autoregressive
from mmgen.paradigms.base import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.blocks.continuous import ContinuousBlockDiffusion
from mmgen.paradigms.blocks.discrete import BlockDiffusion
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.diffusion.discrete import MaskedDiffusion
from mmgen.paradigms.diffusion.noise import DDPM, Flow, NoiseProcess
from mmgen.paradigms.guidance import Guidance
from mmgen.paradigms.infilling.span_infill import SpanInfill
from mmgen.paradigms.masked.codebooks import MaskedCodebooks
from mmgen.paradigms.masked.permuted import Permuted
from mmgen.paradigms.masked.tokens import Masked
from mmgen.paradigms.mixture import Mixture
from mmgen.paradigms.splits import Frames, RandomOrder, RandomUnits, Runs, Split, Subgrids, Tiles

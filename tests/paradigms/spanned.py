"""Rows with spans, shared by the tests of what is made of them and of what fills them."""

from functools import partial

import pytest
import torch
from torch import Tensor

from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import SpanInfill
from mmgen.paradigms.infilling.spans import Spans
from tests.worlds import generator

SPEC = TokenSpec("residual", 3, (9, 1, 1), levels=2)
LABELS = torch.tensor([0, 1, 2, -1, 0])
LENGTHS = torch.tensor([9, 5, 7, 1, 8])
NAMES = ("flat", "parallel", "delay", "coarse_first")
PLACINGS = ("original", "closed", "rearranged")
SPANS = Spans(
    torch.tensor([[0, 4, 8], [2, 0, 0], [1, 3, 0], [0, 0, 0], [0, 0, 0]]),
    torch.tensor([[2, 1, 1], [3, 0, 0], [1, 3, 0], [1, 0, 0], [0, 0, 0]]),
)
"""Of rows of LENGTHS: at both ends and between, at the end, of one frame, of the whole row, and none."""

names = pytest.mark.parametrize("name", NAMES)
placings = pytest.mark.parametrize("placing", PLACINGS)


infill = partial(SpanInfill, ends=True)


def made(spec: TokenSpec = SPEC, **options: object) -> Generator:
    return generator(spec, positions="none", rope=(1, 0, 0), **options)  # type: ignore[arg-type]


def tokens(lengths: Tensor | None = LENGTHS, seed: int = 0) -> Tokens:
    source = torch.Generator().manual_seed(seed)
    return Tokens(torch.randint(0, SPEC.size, (5, 9, 2), generator=source), SPEC.grid, lengths)


def keeps(spans: Spans = SPANS, full: int = 9) -> Tensor:
    frame = torch.arange(full)[:, None]
    return ~((frame >= spans.start[:, None]) & (frame < (spans.start + spans.length)[:, None])).any(-1)

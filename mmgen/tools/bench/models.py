"""Generators for benchmarks, with weights that make all that is computed matter."""

from typing import Any

import torch
from torch import nn

from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Names
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import build_conditions
from mmgen.model.embeddings.positions import PositionKind
from mmgen.model.generator import Generator

LLAMA: dict[str, Any] = {"modulation": "none", "qk_norm": "none", "rope": (1, 0, 0)}
"""The backbone's options that make it what the other packages have: a decoder as in Llama."""


def generator(
    spec: TokenSpec,
    shape: tuple[int, int, int],
    device: torch.device,
    backbone: dict[str, Any] | None = None,
    classes: int = 0,
    positions: PositionKind = "none",
) -> Generator:
    """In evaluation mode, from seed 0, its zero-initialised maps given weights.

    Args:
        spec: of its tokens.
        shape: width, blocks and heads.
        device: where it lies.
        backbone: further options of it.
        classes: number of them, 0 for none.
        positions: as for `Generator`.
    """
    dim, depth, heads = shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = Transformer(dim=dim, depth=depth, heads=heads, **(backbone or {}))
        brought = {"class": Names(tuple(map(str, range(classes))))} if classes else {}
        conditions = build_conditions(None, brought, spec, dim)
        model = Generator(spec, inner, conditions, positions)
        for parameter in model.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return model.to(device).eval()


def parameters(model: nn.Module) -> int:
    """Their number."""
    return sum(parameter.numel() for parameter in model.parameters())

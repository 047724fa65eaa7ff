"""Generators for benchmarks, with weights that make all that is computed matter."""

from typing import Any

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import build_conditions
from mmgen.model.embeddings.positions import PositionKind
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm


def generator(
    paradigm: Paradigm,
    spec: TokenSpec,
    shape: tuple[int, int, int],
    device: torch.device,
    backbone: dict[str, Any] | None = None,
    positions: PositionKind = "none",
) -> Generator:
    """A generator with a paradigm's parts, from seed 0, without conditions, in evaluation mode; `shape` is the width,
    blocks and heads of its backbone, `backbone` further options.
    """
    dim, depth, heads = shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = Transformer(dim=dim, depth=depth, heads=heads, **(backbone or {}))
        conditions = build_conditions(None, {}, spec, dim)
        parts = paradigm.parts(spec, inner)
        model = Generator(spec, inner, conditions, positions, parts=parts, start=paradigm.starts)
        fill_zeros(model, 0.1)
    return model.to(device).eval()


def fill_zeros(model: nn.Module, std: float = 0.3) -> None:
    """Give zero-initialised parameters noise as weights, so that they matter."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=std)


def loss(paradigm: Paradigm, model: Generator, values: Tensor) -> Tensor:
    """The mean loss of the one member of a paradigm, without conditions; values (B, N, ...)."""
    draws = Draws(0, torch.arange(len(values), device=model.device))
    condition = model.conditions(rows=len(values))
    (losses,) = paradigm.losses(model, Tokens(values, model.spec.grid), condition, draws).values()
    return losses.mean()


def count_parameters(model: nn.Module) -> float:
    """Their number, as a figure."""
    return float(sum(parameter.numel() for parameter in model.parameters()))

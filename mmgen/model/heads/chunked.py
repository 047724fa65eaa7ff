"""Cross-entropy of a linear map whose logits are never held whole: for large vocabularies."""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 2**22  # logits held at a time: 16 MiB in float32


def chunked_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, at_once: int = AT_ONCE
) -> Tensor:
    """-log p(target) of independent choices, as `cross_entropy` of the logits `features weight' + bias` gives it,
    without ever holding more than `at_once` logits: they are made in parts, and again in the backward pass, at a third
    more products (compare cut cross-entropy, Wijmans et al. 2025). Under autocast the products are in its precision.

    Args:
        features: (n, dim).
        weight: (groups x choices, dim), group after group.
        bias: (groups x choices,).
        targets: (n, groups) int64 in [0, choices).
        at_once: logits held at a time, at least those of one position.

    Returns:
        (n, groups) nats, in float32 or wider.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        features, weight, bias = (each.to(torch.get_autocast_dtype(device)) for each in (features, weight, bias))
    rows = max(1, at_once // len(weight))
    return _Chunked.apply(features, weight, bias, targets, rows)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, rows: int) -> Tensor:
        parts = []
        for some, wanted in zip(features.split(rows), targets.split(rows), strict=True):
            logits = _logits(some, weight, bias, targets.shape[1])
            parts.append((logits.logsumexp(-1), logits.gather(-1, wanted[..., None])[..., 0]))
        normaliser, chosen = (torch.cat(each) for each in zip(*parts))
        ctx.save_for_backward(features, weight, bias, targets, normaliser)
        ctx.rows = rows
        return normaliser - chosen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        features, weight, bias, targets, normaliser = ctx.saved_tensors
        to_features = torch.empty_like(features)
        to_weight, to_bias = (torch.zeros_like(each, dtype=grad.dtype) for each in (weight, bias))
        pieces = (each.split(ctx.rows) for each in (features, targets, normaliser, grad, to_features))
        for some, wanted, total, upstream, out in zip(*pieces, strict=True):
            slope = _logits(some, weight, bias, targets.shape[1]).sub_(total[..., None]).exp_()
            slope.scatter_add_(-1, wanted[..., None], slope.new_full((), -1).expand(*wanted.shape, 1))
            flat = slope.mul_(upstream[..., None]).flatten(1)
            to_bias += flat.sum(0)
            flat = flat.to(weight.dtype)
            torch.mm(flat, weight, out=out)
            to_weight += flat.mT @ some
        return to_features, to_weight.to(weight.dtype), to_bias.to(bias.dtype), None, None


def _logits(features: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """(n, groups, choices) in float32 or wider."""
    logits = rearrange(F.linear(features, weight, bias), "n (g v) -> n g v", g=groups)
    return logits.float() if logits.dtype.itemsize < 4 else logits

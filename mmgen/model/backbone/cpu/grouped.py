"""Attention by groups of queries on a CPU: exact, forward and backward, with no work on keys that a group cannot see.

Each stretch of keys goes through the kernel behind `scaled_dot_product_attention`; what a query gets from several
stretches is joined by their normalisers, as in ring attention (Liu et al. 2023). The kernel's backward pass only needs
the joint output and normaliser, so that nothing is computed twice.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmgen.model.backbone.cpu.grouped_plan import Plan, Stretch

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def grouped_attention(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
    """Softmax attention, as `scaled_dot_product_attention` with the dense mask computes it, up to rounding: q (B,
    heads, Nq, head_dim), k and v (B, kv_heads, Nk, head_dim), kv_heads dividing heads -> as q.
    """
    if torch.is_autocast_enabled("cpu"):
        q, k, v = (each.to(torch.get_autocast_dtype("cpu")) for each in (q, k, v))
    if q.shape[1] != k.shape[1]:
        k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for each in (k, v))
    q, k, v = (_dense_last(each) for each in (q, k, v))
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _Grouped.apply(q, k, v, plan)
    return _attend(q, k, v, plan)[0]


def untraced() -> Callable[[Tensor, Tensor, Tensor, Plan], Tensor]:
    """`grouped_attention` outside the graphs of torch's compiler, which takes seconds to import: only where it is
    imported.
    """
    return _disabled() if "torch._dynamo" in sys.modules else grouped_attention


@cache
def _disabled() -> Callable[[Tensor, Tensor, Tensor, Plan], Tensor]:
    return torch.compiler.disable(grouped_attention)


def _attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> tuple[Tensor, list[Tensor]]:
    out, normalisers = torch.empty_like(q.transpose(1, 2)).transpose(1, 2), []
    for group in plan:
        here = q[:, :, group.queries]
        parts = [_look(here, k, v, stretch) for stretch in group.stretches]
        normaliser = parts[0][1] if len(parts) == 1 else torch.stack([each for _, each in parts]).logsumexp(0)
        out[:, :, group.queries] = parts[0][0] if len(parts) == 1 else _joined(parts, normaliser)
        normalisers.append(normaliser)
    return out, normalisers


def _joined(parts: list[tuple[Tensor, Tensor]], normaliser: Tensor) -> Tensor:
    first, *others = ((out, (own - normaliser).exp()[..., None]) for out, own in parts)
    joined = first[0] * first[1]  # in float32 or wider, as normalisers are
    for out, share in others:
        joined = torch.addcmul(joined, out.to(joined.dtype), share)
    return joined


def _look(q: Tensor, k: Tensor, v: Tensor, stretch: Stretch) -> tuple[Tensor, Tensor]:
    """Output and normaliser, the log of the sum of exponentials, of one stretch of keys."""
    out, normaliser = _forward(
        q, k[:, :, stretch.keys], v[:, :, stretch.keys], 0.0, False, attn_mask=_bias(stretch, q.dtype)
    )
    if stretch.blind is not None:  # the kernel says 0 there
        normaliser = normaliser.masked_fill(stretch.blind, -torch.inf)
    return out, normaliser


def _bias(stretch: Stretch, dtype: torch.dtype) -> Tensor | None:
    return stretch.bias.double() if stretch.bias is not None and dtype == torch.float64 else stretch.bias


def _dense_last(x: Tensor) -> Tensor:
    """The kernel takes any strides but those of the channels for granted."""
    return x if x.stride(-1) == 1 else x.contiguous()


class _Grouped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Tensor:
        out, normalisers = _attend(q, k, v, plan)
        ctx.save_for_backward(q, k, v, out, *normalisers)
        ctx.plan = plan
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, *normalisers = ctx.saved_tensors
        to_q, to_k, to_v = (torch.zeros_like(each.transpose(1, 2)).transpose(1, 2) for each in (q, k, v))
        grad = _dense_last(grad)
        for group, normaliser in zip(ctx.plan, normalisers, strict=True):
            own = [each[:, :, group.queries] for each in (grad, q, out)]
            for stretch in group.stretches:
                keys = stretch.keys
                grads = _backward(
                    own[0], own[1], k[:, :, keys], v[:, :, keys], own[2], normaliser, 0.0, False,
                    attn_mask=_bias(stretch, q.dtype),
                )  # fmt: skip
                to_q[:, :, group.queries] += grads[0]
                to_k[:, :, keys] += grads[1]
                to_v[:, :, keys] += grads[2]
        return to_q, to_k, to_v, None

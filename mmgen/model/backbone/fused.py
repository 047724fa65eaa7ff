"""What a block does between its matrix products, in fewer passes over memory than autograd takes for the same formulas.

A GPU has kernels of its own for norms, and a compiler fuses the plain formulas: both get these, and so does half
precision.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmgen.model.backbone import positions


def _plain(x: Tensor) -> bool:
    return x.device.type != "cpu" or x.dtype.itemsize < 4 or torch.compiler.is_compiling()


def swiglu(x: Tensor) -> Tensor:
    """silu(gate) x value of the two halves of the channels: (..., 2 n) -> (..., n)."""
    if _plain(x):
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate) * value
    return _Swiglu.apply(x)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean of x squared + eps) x weight, over the channels of x (..., n); weight (n,), or whatever spreads
    over x: (heads, 1, n) for x (B, heads, N, n).
    """
    weight = weight.to(x.dtype)
    if _plain(x):
        only = x.shape[-1:]
        return F.rms_norm(x, only, weight, eps) if weight.shape == only else F.rms_norm(x, only, eps=eps) * weight
    return _RMSNorm.apply(x, weight, eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`positions.rotate` of x (B, heads, N, head_dim) by cos and sin (b, 1, N, head_dim), in fewer passes."""
    if _plain(x) or cos.dtype != x.dtype:
        return positions.rotate(x, cos, sin)
    return _Rotate.apply(x, cos, sin)


class _Swiglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, dim=-1)
        opened = F.silu(gate)
        ctx.save_for_backward(x, opened)
        return opened * value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, opened = ctx.saved_tensors
        (gate, value), to_x = x.chunk(2, dim=-1), torch.empty_like(x)
        to_gate, to_value = to_x.chunk(2, dim=-1)
        torch.mul(grad, opened, out=to_value)
        torch.ops.aten.silu_backward.grad_input(grad * value, gate, grad_input=to_gate)
        return to_x


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (size.square() / x.shape[-1] + eps).rsqrt()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        shares = grad * normed
        along = shares @ weight if weight.dim() == 1 else (shares * weight).sum(-1)
        to_x = (grad * weight).addcmul_(normed, along[..., None] / -normed.shape[-1]).mul_(scale)
        return to_x, shares.sum_to_size(weight.shape), None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin.roll(sin.shape[-1] // 2, -1)), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out

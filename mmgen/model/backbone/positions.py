"""Rotary positions from Layout.position: one application rule, tables built by axes, base and what a prefix gets."""

from typing import Literal

import torch
from torch import Tensor

from mmgen.core.errors import require
from mmgen.core.layout import Layout, Role
from mmgen.core.shape_cache import remember

PrefixRotation = Literal["identity", "zero", "placed"]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x cos + rotate_half(x) sin. x (B, heads, N, head_dim); cos and sin (b, 1, N, head_dim)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Rotary:
    """Table builder of n-dimensional rotary embeddings (Su et al. 2021; axial form as in Heo et al. 2024).

    Dimension i and its partner i + head_dim / 2 always belong to one axis, so that scores depend on differences of
    positions only, axis by axis.

    Args:
        head_dim: width of one head, even.
        axes: shares of the head_dim / 2 frequencies for (t, h, w), such as (1, 0, 0) for a sequence, (0, 1, 1) for an
            image, (2, 3, 3) for video.
        base: base of the geometric series of frequencies.
        prefix: `identity` leaves prefix queries and keys unrotated; `zero` makes their rotary part vanish (LlamaGen);
            `placed` rotates them as all others, for a text whose characters have places (`layout.text_prefix`).
    """

    def __init__(
        self,
        head_dim: int,
        axes: tuple[int, int, int] = (2, 3, 3),
        base: float = 10000.0,
        prefix: PrefixRotation = "identity",
    ) -> None:
        fine = head_dim % 2 == 0 and len(axes) == 3 and min(axes) >= 0 and sum(axes) > 0
        needed = "rotary positions need an even head width and three shares for (t, h, w)"
        require(fine, f"{needed}, got {head_dim} and {axes}")
        self.prefix = prefix
        bounds = [round(head_dim // 2 * sum(axes[:i]) / sum(axes)) for i in range(4)]
        self.counts = counts = [after - before for before, after in zip(bounds[:-1], bounds[1:], strict=True)]
        # On the CPU, also where a model is built without memory: there torch would load its compiler to divide.
        self.frequencies = torch.zeros(3, head_dim // 2, device="cpu")
        for axis, (start, count) in enumerate(zip(bounds[:-1], counts, strict=True)):
            self.frequencies[axis, start : start + count] = base ** (-torch.arange(count, device="cpu") / max(count, 1))

    def tables(self, layout: Layout, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin, each (b, 1, N, head_dim); found again for shared layouts."""
        return _cached_tables(self, layout, dtype) if layout.batch == 1 else _tables(self, layout, dtype)


def _tables(rotary: Rotary, layout: Layout, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    angle = (layout.position.double() @ rotary.frequencies.double().to(layout.position.device))[:, None]
    cos, sin = torch.cat([angle.cos()] * 2, dim=-1), torch.cat([angle.sin()] * 2, dim=-1)
    if rotary.prefix == "placed":
        return cos.to(dtype), sin.to(dtype)
    outside = (layout.role == Role.PREFIX)[:, None, :, None]
    cos = torch.where(outside, 0.0 if rotary.prefix == "zero" else 1.0, cos)
    return cos.to(dtype), torch.where(outside, 0.0, sin).to(dtype)


_cached_tables = remember(1024)(_tables)

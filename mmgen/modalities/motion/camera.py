"""Where a drawing looks from: points in metres to pixels."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_AZIMUTH, _ELEVATION = math.radians(38), math.radians(13)  # of the camera, from +z towards +x and from the floor
_LENS = 4.0  # focal length in halves of the picture's smaller side: long, so that limbs keep their proportions
_NEAREST = 0.5  # metres before the lens; what is nearer is not seen


@dataclass(frozen=True)
class Camera:
    """Looks at a person who faces +z from the front, a little from the left and from above.

    Args:
        target: (T, 3), what is in the middle of the picture in each frame, in metres.
        size: (H, W) of the picture.
        distance: metres from the lens to the target.
    """

    target: Tensor
    size: tuple[int, int]
    distance: float = 5.0

    def fitted(self, points: Tensor, filled: float) -> "Camera":
        """As near as it may come for all `points` (T, N, 3) to lie in the middle `filled` part of the picture."""
        side, up, near = self._axes(points)
        height, width = self.size
        half = min(self.size) / 2
        reach = torch.maximum(side.abs() * half / width, up.abs() * half / height)
        return replace(self, distance=float((near + reach * 2 * _LENS / filled).max()))

    def project(self, points: Tensor) -> Tensor:
        """Points (T, ..., 3) to pixels from the left, pixels from the top, and pixels a metre there, 0 where unseen."""
        side, up, near = self._axes(points)
        height, width = self.size
        depth = self.distance - near
        scale = torch.where(depth > _NEAREST, _LENS * min(self.size) / 2 / depth.clamp(min=_NEAREST), 0)
        return torch.stack([width / 2 + side * scale, height / 2 - up * scale, scale], -1)

    def _axes(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far points lie to the right of the target, above it and before it, as the camera has them."""
        sin, cos = math.sin(_AZIMUTH), math.cos(_AZIMUTH)
        low, high = math.cos(_ELEVATION), math.sin(_ELEVATION)
        axes = points.new_tensor([[cos, 0, -sin], [-sin * high, low, -cos * high], [sin * low, high, cos * low]])
        target = self.target.to(points).reshape(len(self.target), *[1] * (points.ndim - 2), 3)
        side, up, near = ((points - target) @ axes.T).unbind(-1)
        return side, up, near

"""In which unit, and which way up, the motions of others are: their files do not say, and a person's legs do."""

import torch
from torch import Tensor

from mmgen.modalities.motion.features import feature_slices
from mmgen.modalities.motion.skeleton import HUMANML3D, Skeleton, skeleton_of_features

_UNITS = {"centimetres": 0.01, "metres": 1.0, "millimetres": 0.001, "inches": 0.0254}  # in metres; the commonest first
_LEGS = (0.5, 1.2)  # metres from hip to ankle that people have
_OTHERS = (0.1, 2.0)  # metres that a child's or a giant's have
_STIFF = 0.2  # share by which the length of a person's legs changes at most, as they are measured
_UPRIGHT = 0.8  # cosine of the angle to an axis up to which a body stands along it

LENGTHS = ("root_velocity", "root_height", "positions", "velocities")
"""Groups of the features that are in metres."""


def legs_of(joints: Tensor, skeleton: Skeleton) -> float:
    """From the left hip over the knee to the ankle in joints (T, J, 3): the median over the frames."""
    return float(_legs(joints, skeleton).median())


def _legs(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """(T,)"""
    hip, knee, ankle = (joints[:, skeleton.joints.index(f"left_{part}")] for part in ("hip", "knee", "ankle"))
    return (knee - hip).norm(dim=-1) + (ankle - knee).norm(dim=-1)


def find_unit(legs: float) -> tuple[str, float] | None:
    """The unit, and its length in metres, in which legs have a person's length; None where there is none."""
    shortest, longest = _LEGS
    return next(((name, unit) for name, unit in _UNITS.items() if shortest <= legs * unit <= longest), None)


def joints_in_metres(joints: Tensor, skeleton: Skeleton) -> tuple[Tensor, str | None]:
    """Joints (T, J, 3) that should be in metres, and what was odd about them; None where nothing was."""
    unit, remark = _unit_of_array(_legs(joints, skeleton))
    return joints * unit, remark


def features_in_metres(features: Tensor) -> tuple[Tensor, str | None]:
    """Features (T, D) that should be in metres, likewise."""
    slices, skeleton = feature_slices(features.shape[-1]), skeleton_of_features(features.shape[-1])
    others = features[:, slices["positions"]].unflatten(1, (-1, 3))
    unit, remark = _unit_of_array(_legs(torch.cat([torch.zeros_like(others[:, :1]), others], 1), skeleton))
    if unit != 1:
        features = features.clone()
        for name in LENGTHS:
            features[:, slices[name]] *= unit
    return features, remark


def _unit_of_array(lengths: Tensor) -> tuple[float, str | None]:
    legs = float(lengths.median())
    unit, (shortest, longest) = find_unit(legs), _OTHERS
    if shortest <= legs <= longest:
        return 1.0, None
    is_stiff = float((lengths - legs).abs().max()) <= _STIFF * legs  # of what a poor model makes they are not
    if unit is None or not is_stiff:
        return 1.0, f"its legs are {legs:.3g} m long, no person's: is it normalised, or in another unit?"
    return unit[1], f"its legs are {legs:.3g} long, so it is taken to be in {unit[0]} and brought to metres"


def stand_up(joints: Tensor, rest: Tensor) -> tuple[Tensor, str | None]:
    """Joints (T, 22, 3) with y up, of a person who at rest is (22, 3), since some programs have z up; and a remark
    where they were turned.

    A body that lies at rest and stands while it moves is turned by its root, and one that stands at rest and lies while
    it moves just lies: both stay.
    """
    axis, sign = _stands_along(rest[None])
    if axis is None or (axis, sign) == (1, 1) or _stands_along(joints) == (1, 1):
        return joints, None
    x, y, z = joints.unbind(-1)
    turned = {0: (-sign * y, sign * x, z), 1: (x, -y, -z), 2: (x, sign * z, -sign * y)}[axis]
    up = f"{'-' if sign < 0 else ''}{'xyz'[axis]}"
    return torch.stack(turned, -1), f"its person stands along {up} at rest, so {up} is taken for up"


def _stands_along(joints: Tensor) -> tuple[int | None, int]:
    """The axis, and its sign, from ankles to head in the mean of (T, 22, 3); None where it is none."""
    head, left, right = (joints[:, HUMANML3D.joints.index(name)] for name in ("head", "left_ankle", "right_ankle"))
    way = torch.nn.functional.normalize(head - (left + right) / 2, dim=-1).mean(0)
    axis = int(way.abs().argmax())
    return (axis if way[axis].abs() >= _UPRIGHT else None), int(way[axis].sign())

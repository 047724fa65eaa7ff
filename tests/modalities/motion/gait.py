"""A walk with known answers: where the root is, which way it faces, and when each foot stands.

The feet are planned in the world and the legs reach for them, so that a standing foot does not slide; the upper body
swings against the legs. Every bone keeps its length.
"""

import math

import roma
import torch
from torch import Tensor

from mmgen.modalities.motion.skeleton import HUMANML3D, Skeleton

CYCLE = 1.1  # seconds of two steps
STANDS = 0.62  # of a cycle, a foot's toes stand
FLAT = 0.36  # of a cycle, its heel stands too
HEIGHT = 0.885  # metres of the root above the floor, on average


def walk(
    skeleton: Skeleton = HUMANML3D, frames: int = 80, fps: float = 20.0, speed: float = 1.1, turn: float = 0.0
) -> Tensor:
    """Joints (T, J, 3) in metres, float64; `speed` in metres a second, `turn` in radians a second, left if > 0."""
    time = torch.arange(frames, dtype=torch.float64) / fps
    phase = 2 * math.pi * time / CYCLE
    joints = _upper_body(skeleton, time, phase, speed, turn)
    for side in (1, -1):
        _place_leg(skeleton, joints, side, time, speed, turn)
    return joints


def path(time: Tensor, speed: float, turn: float) -> Tensor:
    """Where the walk is on the floor (..., 3) at `time` seconds: a straight line along z, or a circle."""
    bend = turn * time
    chord = speed * time * torch.sinc(bend / 2 / math.pi)
    return torch.stack([chord * (bend / 2).sin(), torch.zeros_like(time), chord * (bend / 2).cos()], -1)


def toes_stand(start: float, frames: int, fps: float = 20.0) -> Tensor:
    """(T,) bool: whether the foot that begins `start` cycles late (left 0, right 0.5) stands in each frame."""
    return (torch.arange(frames) / fps / CYCLE + start) % 1 < STANDS


def _upper_body(skeleton: Skeleton, time: Tensor, phase: Tensor, speed: float, turn: float) -> Tensor:
    quaternions = {name: roma.identity_quat(time.shape, dtype=torch.float64) for name in skeleton.joints}
    nothing = torch.zeros_like(time)

    def bend(name: str, x: Tensor = nothing, y: Tensor = nothing, z: Tensor = nothing) -> None:
        new = roma.rotvec_to_unitquat(torch.deg2rad(torch.stack([x, y, z], -1)))
        quaternions[name] = roma.quat_product(quaternions[name], new)

    swing = (phase - 0.6).cos()  # 1 when the left foot is in front
    root, spine, *_, neck, _ = (skeleton.joints[joint] for joint in skeleton.chains[2])
    bend(root, y=torch.rad2deg(turn * time) - 5 * swing)
    bend(root, z=2 * phase.cos())
    bend(spine, x=nothing + 4, y=13 * swing)
    bend(neck, x=nothing + 6, y=-8 * swing)
    for name, sign in (("left", 1), ("right", -1)):
        bend(f"{name}_shoulder", x=sign * 24 * swing + 4)
        bend(f"{name}_shoulder", z=nothing - 80 * sign)
        bend(f"{name}_elbow", y=-sign * (24 - 14 * sign * swing))
    ground = path(time, speed, turn)
    root_place = ground + torch.stack([nothing, HEIGHT - 0.016 * (2 * phase - 0.6).cos(), nothing], -1)
    rotations = roma.quat_xyzw_to_wxyz(torch.stack([quaternions[name] for name in skeleton.joints], 1))
    return skeleton.forward(root_place, rotations)


def _place_leg(skeleton: Skeleton, joints: Tensor, side: int, time: Tensor, speed: float, turn: float) -> None:
    """The knee, ankle and foot of the left (side 1) or right (-1) leg, which reaches for the planned foot."""
    name, late = ("left", 0.0) if side == 1 else ("right", CYCLE / 2)
    hip, knee, ankle = (skeleton.joints.index(f"{name}_{part}") for part in ("hip", "knee", "ankle"))
    below = next(chain[chain.index(ankle) + 1 :] for chain in skeleton.chains if ankle in chain)
    offsets = skeleton.offsets.double()
    cycle = ((time + late) / CYCLE).floor()
    part = (time + late) / CYCLE - cycle
    swung = ((part - STANDS) / (1 - STANDS)).clamp(0, 1)
    moved = (cycle + STANDS / 2 + _eased(swung)) * CYCLE - late  # when the body is above this foot
    pitch = (
        42 * _eased((part - FLAT) / (STANDS - FLAT)) * (1 - _eased(swung / 0.75)) - 14 * (math.pi * swung).sin() ** 4
    )
    turned = _about(1, turn * moved)
    foot = turned @ _about(0, torch.deg2rad(pitch))
    toes = path(moved, speed, turn) + (turned @ torch.tensor([side * 0.09, 0.02, 0.08], dtype=torch.float64))
    toes[:, 1] += 0.05 * (math.pi * swung).sin()
    joints[:, ankle] = toes - foot @ offsets[list(below)].sum(0)
    for joint in below:
        joints[:, joint] = joints[:, skeleton.parents[joint]] + foot @ offsets[joint]
    forward = _about(1, turn * time)[:, :, 2]
    joints[:, knee] = _bent(joints[:, hip], joints[:, ankle], offsets[knee].norm(), offsets[ankle].norm(), forward)


def _bent(top: Tensor, bottom: Tensor, upper: Tensor, lower: Tensor, forward: Tensor) -> Tensor:
    """Where two bones of these lengths meet between `top` and `bottom`, bent forward."""
    way = bottom - top
    length = way.norm(dim=-1, keepdim=True)
    straight = way / length
    along = (upper**2 - lower**2 + length**2) / (2 * length)
    ahead = forward - (forward * straight).sum(-1, keepdim=True) * straight
    return top + along * straight + (upper**2 - along**2).sqrt() * ahead / ahead.norm(dim=-1, keepdim=True)


def _about(axis: int, angle: Tensor) -> Tensor:
    """(T, 3, 3) rotations by `angle` (T,) radians about one axis."""
    return roma.rotvec_to_rotmat(torch.eye(3, dtype=torch.float64)[axis] * angle[:, None])


def _eased(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)

"""Clips of people as DeepMimic (Peng et al. 2018) writes them: turns of a body's joints in, HumanML3D's 22 joints out.

A file is JSON: `Frames`, each of 44 numbers: how long it lasts in seconds, where the root is, and how it and the joints
are turned, quaternions (w, x, y, z) of ball joints and angles of hinges. There x is forward and z to the right; here,
as everywhere in mmgen, z is forward and x to the left.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.modalities.motion.kinematics import forward
from mmgen.modalities.motion.skeleton import HUMANML3D

PREFIX, SUFFIX = "humanoid3d_", ".txt"
_RATE = 240.0  # poses a second of a stretch, on straight lines between which joints are right to a millimetre

_SIDE = (("hip", 4), ("knee", 1), ("ankle", 4), ("shoulder", 4), ("elbow", 1))
_TURNED = (
    ("pelvis", 4),
    ("spine2", 4),
    ("neck", 4),
    *((f"{side}_{joint}", size) for side in ("right", "left") for joint, size in _SIDE),
)
"""The joints in a frame's order, with the numbers of each: the chest is spine2."""

_NUMBERS = 4 + sum(size for _, size in _TURNED)

# The body of DeepMimic, in metres. It has no spine1, spine3, collars, head and feet: these lie where HumanML3D's people
# have them, and move with the joint beneath.
_OFFSETS = torch.tensor(
    [
        (0, 0, 0), (0.084887, 0, 0), (-0.084887, 0, 0), (0, 0.11, 0),  # pelvis, hips, spine1
        (0, -0.421546, 0), (0, -0.421546, 0), (0, 0.126151, 0),  # knees, spine2
        (0, -0.40987, 0), (0, -0.40987, 0), (0, 0.06, 0),  # ankles, spine3
        (0.01, -0.045, 0.13), (-0.01, -0.045, 0.13), (0, 0.163894, 0),  # feet, neck
        (0.08, 0.13, -0.02405), (-0.08, 0.13, -0.02405), (0, 0.1, 0.03),  # collars, head
        (0.10311, 0.0535, 0), (-0.10311, 0.0535, 0),  # shoulders
        (0, -0.274788, 0), (0, -0.274788, 0), (0, -0.258947, 0), (0, -0.258947, 0),  # elbows, wrists
    ],
    dtype=torch.float64,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stretch:
    """Some of a clip's time.

    Args:
        joints: (N, 22, 3) float32 in metres at even times, the first and the last moment among them.
        rotations: (N, 22, 4) float32, local quaternions (w, x, y, z) at the same times.
        seconds: its length.
    """

    joints: Tensor
    rotations: Tensor
    seconds: float

    def at(self, times: Tensor) -> Tensor:
        """Joints (n, 22, 3) at times (n,), in seconds from its beginning; before and after it stands still."""
        before, part = self._between(times)
        return torch.lerp(self.joints[before], self.joints[before + 1], part[:, None, None])

    def turned(self, times: Tensor) -> Tensor:
        """Local rotations (n, 22, 4) at the same times as joints, (w, x, y, z)."""
        before, part = self._between(times)
        return slerp(self.rotations[before], self.rotations[before + 1], part[:, None, None])

    def _between(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """The moment before each time, and how much of the way to the next one has gone."""
        last = len(self.joints) - 1
        place = (times * (last / self.seconds)).clamp(0, last)
        before = place.long().clamp(max=last - 1)
        return before, (place - before).float()


@dataclass(frozen=True, eq=False)
class Clip:
    """A recorded motion.

    Args:
        times: (K,) float64, when each frame is, in seconds from 0.
        root: (K, 3) float64 in metres.
        rotations: (K, 22, 4) float64, local quaternions (w, x, y, z) of HumanML3D's joints.
    """

    times: Tensor
    root: Tensor
    rotations: Tensor

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return float(self.times[-1])

    def split(self, share: float) -> tuple[Stretch, Stretch]:
        """Its beginning, and the last `share` of its time or a little more; only the frame at the border is in both."""
        border = int((self.times <= self.seconds * (1 - share) + 1e-6).sum()) - 1
        return self._stretch(0, border), self._stretch(border, len(self.times) - 1)

    def _stretch(self, first: int, last: int) -> Stretch:
        """From one frame, not the clip's last, to another, which may be the same."""
        begin, end = self.times[first], self.times[last]
        count = max(2, math.ceil(float(end - begin) * _RATE - 1e-6) + 1)
        times = torch.linspace(0, 1, count, dtype=torch.float64) * (end - begin) + begin
        after = torch.searchsorted(self.times, times).clamp(min=first + 1, max=max(last, first + 1))
        before = after - 1
        part = ((times - self.times[before]) / (self.times[after] - self.times[before])).clamp(0, 1)
        root = torch.lerp(self.root[before], self.root[after], part[:, None])
        rotations = slerp(self.rotations[before], self.rotations[after], part[:, None, None])
        joints = posed(root, rotations)
        return Stretch(joints.float(), rotations.float(), float(end - begin))


def posed(root: Tensor, rotations: Tensor) -> Tensor:
    """Joints (..., 22, 3) of DeepMimic's body, whose root is at (..., 3) and whose local rotations are (..., 22, 4)."""
    return forward(HUMANML3D.parents, _OFFSETS, root, rotations)


def read_clip(path: Path) -> Clip:
    """A clip from its file. Raises UserError where it cannot be read, or is damaged."""
    try:
        frames = read_json(path)["Frames"]
        table = torch.tensor(frames, dtype=torch.float64)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(f"{path} is no clip of DeepMimic's, or a damaged one ({reason})") from None
    if table.ndim != 2 or table.shape[1] != _NUMBERS or len(table) < 2:
        raise UserError(f"{path} has frames {tuple(table.shape)}, and a clip has two or more of {_NUMBERS} numbers")
    if not table.isfinite().all():
        row = int(table.isfinite().all(1).logical_not().nonzero()[0])
        raise UserError(f"{path} holds numbers that are not finite, first in frame {row}")
    durations, x, y, z = table[:-1, 0], *table[:, 1:4].T
    if not (durations > 0).all():
        row = int((durations <= 0).nonzero()[0])
        raise UserError(f"{path} has a frame that does not last: number {row}, of {durations[row]:g} s")
    times = torch.cat([durations.new_zeros(1), durations.cumsum(0)])
    return Clip(times, torch.stack([-z, y, x], 1), _rotations(table, path))


def write_fake_clip(path: Path, joint: str) -> None:
    """Three seconds of a person who stands and bends one ball joint, such as `spine2`, forward and back again."""
    rows = torch.zeros(91, _NUMBERS, dtype=torch.float64)
    rows[:, 0], rows[:, 2] = 1 / 30, 0.88
    column = 4
    for name, size in _TURNED:
        if size == 4:
            angle = 0.4 * (torch.arange(91) * math.pi / 30).sin() * (name == joint)
            rows[:, column], rows[:, column + 3] = angle.cos(), -angle.sin()
        column += size
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Loop": "wrap", "Frames": rows.tolist()}))


def slerp(before: Tensor, after: Tensor, part: Tensor) -> Tensor:
    """Unit quaternions (..., 4) a `part` (..., 1) in [0, 1] of the way between two rotations, the short way round."""
    cosine = (before * after).sum(-1, keepdim=True)
    after, cosine = after * torch.where(cosine < 0, -1, 1), cosine.abs().clamp(max=1)
    angle = cosine.acos()
    near = angle < 1e-6
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    first = torch.where(near, 1 - part, ((1 - part) * angle).sin() / sine)
    second = torch.where(near, part, (part * angle).sin() / sine)
    return torch.nn.functional.normalize(first * before + second * after, dim=-1)


def _rotations(table: Tensor, path: Path) -> Tensor:
    rotations = table.new_zeros(len(table), len(HUMANML3D), 4)
    rotations[..., 0] = 1
    column = 4
    for name, size in _TURNED:
        numbers, column = table[:, column : column + size], column + size
        if size == 1:  # a hinge about the axis that points to the right
            half, nothing = numbers[:, 0] / 2, torch.zeros(len(table), dtype=torch.float64)
            turn = torch.stack([half.cos(), -half.sin(), nothing, nothing], 1)
        else:
            w, x, y, z = numbers.T
            turn = torch.stack([w, -z, y, x], 1)
        length = turn.norm(dim=1, keepdim=True)
        if not (length > 1e-3).all():
            row = int((length <= 1e-3).nonzero()[0, 0])
            raise UserError(f"{path} turns {name} by no rotation in frame {row}: a quaternion has a length")
        rotations[:, HUMANML3D.joints.index(name)] = turn / length
    return rotations

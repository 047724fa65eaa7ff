"""BVH files: motions as nearly all animation programs exchange them.

A tree of joints with their offsets comes first, then a line of numbers for each frame: angles in degrees, and where the
root is, in a unit that the file does not name.
"""

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import roma
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.text_file import stream_lines
from mmgen.modalities.motion.kinematics import forward, inverse, to_quaternion
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of

_UNIT = 0.01  # metres: centimetres are the commonest
_MOST_JOINTS = 1000
_MOST_FRAMES = 2**18  # 36 minutes at 120 frames a second
_MOST_NUMBERS = 2**25  # 256 MiB of them
_AT_ONCE = 2**17  # joints times frames, of 300 bytes each while they are placed
_ROUNDED = 2e-4  # of a rate: 0.008333 s means 120 frames a second, but 29.97 are not 30
_AXES = "XYZ"
_ORDER = "ZXY"  # of the rotations in files that are written here


@dataclass(frozen=True)
class Bvh:
    """What a BVH file says of J joints in T frames. End sites are left out, since they have no names.

    Args:
        names: of the joints, as the file has them; parents come before their children.
        parents: the parent of each; -1 for the root.
        offsets: (J, 3) float64, each joint from its parent at rest, in the file's unit.
        channels: of each joint, such as `Xposition`, `Zrotation`: what a frame's numbers are, joint after joint.
        table: (T, numbers a frame) float64.
        fps: frames a second.
        claimed: frames that the file says it has; T unless it is wrong.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Tensor
    channels: tuple[tuple[str, ...], ...]
    table: Tensor
    fps: float
    claimed: int

    def joints(self, scale: float = _UNIT, wanted: Sequence[int] | None = None) -> Tensor:
        """Positions (T, J, 3), float64, in metres if `scale` is the length of the file's unit in metres; those of the
        `wanted` joints, all by default.
        """
        wanted = range(len(self.names)) if wanted is None else wanted
        # A file may have few numbers for many joints: all of them are in memory for a few frames only.
        parts = self.table.split(max(1, _AT_ONCE // len(self.names)))
        return torch.cat([scale * self._positions(part)[:, list(wanted)] for part in parts])

    def rest(self) -> Tensor:
        """Positions (J, 3) from the root while nothing is turned, in the file's unit."""
        still = torch.zeros(len(self.names), 4, dtype=torch.float64)
        still[:, 0] = 1
        return forward(self.parents, self.offsets, torch.zeros(3, dtype=torch.float64), still)

    def _positions(self, table: Tensor) -> Tensor:
        """(T, J, 3) of some frames' numbers."""
        places = self.offsets.repeat(len(table), 1, 1)
        matrices = torch.eye(3, dtype=torch.float64).repeat(len(table), len(self.names), 1, 1)
        column = 0
        for joint, channels in enumerate(self.channels):
            values = {name: table[:, column + index] for index, name in enumerate(channels)}
            column += len(channels)
            for name, value in values.items():
                if name.endswith("position"):
                    places[:, joint, _AXES.index(name[0])] = value
            turns = [name for name in channels if name.endswith("rotation")]
            if turns:  # the first one named turns last, as seen from outside
                angles = [torch.deg2rad(values[name]) for name in turns]
                matrices[:, joint] = roma.euler_to_rotmat("".join(name[0] for name in turns), angles)
        return forward(self.parents, places, places[:, 0], to_quaternion(matrices))


def read_bvh(path: str | Path) -> Bvh:
    """A BVH file of any tree and any order of channels. All of its frames are read, however few it claims.

    Raises:
        UserError: no such file, not a BVH file, or a damaged one; the message names the line.
    """
    return _Reader(path).read()


def bvh_text(joints: Tensor, fps: float, scale: float = _UNIT) -> str:
    """Joints (T, J, 3) in metres as the text of a BVH file, whose unit is `scale` metres. They come back to a hundredth
    of a millimetre where bones keep their lengths, and those that meet in pelvis and chest their angles; elsewhere as
    near as a rigid body can. Raises UserError for joints of no skeleton, or that are not numbers.
    """
    skeleton = skeleton_of(joints.shape[-2])
    skeleton.check(joints)
    joints = joints.detach().cpu().double()
    offsets, quaternions = inverse(skeleton.parents, skeleton.offsets, joints)
    angles = roma.unitquat_to_euler(_ORDER, roma.quat_wxyz_to_xyzw(quaternions), degrees=True).numpy()
    angles = np.unwrap(angles, axis=0, period=360)  # programs that interpolate would spin where they jump
    tree, order = _tree(skeleton, offsets / scale, 0)
    lines = ["HIERARCHY", *tree, "MOTION", f"Frames: {len(joints)}", f"Frame Time: {1 / fps:.9f}"]
    rows = np.concatenate([joints[:, 0].numpy() / scale, angles[:, order].reshape(len(joints), -1)], 1)
    return "\n".join([*lines, *map(_numbers, rows)]) + "\n"


def _tree(skeleton: Skeleton, offsets: Tensor, joint: int) -> tuple[list[str], list[int]]:
    """The lines of a joint and all below it, and these joints in the order of the lines."""
    children = [child for child, above in enumerate(skeleton.parents) if above == joint]
    rotations = " ".join(f"{axis}rotation" for axis in _ORDER)
    channels = f"3 {rotations}" if joint else f"6 Xposition Yposition Zposition {rotations}"
    lines, order = [f"OFFSET {_numbers(offsets[joint])}", f"CHANNELS {channels}"], [joint]
    for child in children:
        below, their_order = _tree(skeleton, offsets, child)
        lines += below
        order += their_order
    if not children:  # a bone to look at: on in the direction of the last one, half as long
        lines += ["End Site", "{", f"\tOFFSET {_numbers(offsets[joint] / 2)}", "}"]
    title = f"{'JOINT' if joint else 'ROOT'} {skeleton.joints[joint]}"
    return [title, "{", *(f"\t{line}" for line in lines), "}"], order


def _numbers(row: Tensor | np.ndarray) -> str:
    return " ".join(f"{number:.6f}" for number in row.tolist())


class _Reader:
    """Reads line by line, so that it can always say where it is."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.number = 0  # of the line in hand
        self.lines = self._split()
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[list[str]] = []

    def read(self) -> Bvh:
        if self._next() != ["HIERARCHY"]:
            raise UserError(f"{self.path} is not a BVH file: it does not begin with HIERARCHY")
        self._read_tree()
        claimed, seconds = self._read_header()
        table = self._read_frames(claimed)
        fps = 1 / seconds
        if abs(round(fps) - fps) < _ROUNDED * fps:
            fps = round(fps)
        offsets = torch.tensor(self.offsets, dtype=torch.float64)
        channels = tuple(map(tuple, self.channels))
        return Bvh(tuple(self.names), tuple(self.parents), offsets, channels, table, fps, claimed)

    def _read_tree(self) -> None:
        above: list[int | None] = []  # the joints whose braces are open; None for an end site
        while above or not self.names:
            words = self._next()
            if words[0] in ("ROOT", "JOINT") and len(words) > 1 and (words[0] == "JOINT") == bool(above):
                above.append(self._open(" ".join(words[1:]), above))
            elif words == ["End", "Site"] and above and above[-1] is not None:
                above.append(None)
                self._brace()
            elif words[0] == "OFFSET" and above:
                offset = self._floats(words[1:], 3)
                if above[-1] is not None:
                    self.offsets[above[-1]] = offset
            elif words[0] == "CHANNELS" and above and above[-1] is not None:
                self.channels[above[-1]] = self._channels(words[1:])
            elif words == ["}"] and above:
                above.pop()
            else:
                self._fail(f"{' '.join(words)[:40]!r} has no place here")

    def _open(self, name: str, above: list[int | None]) -> int:
        if above and above[-1] is None:
            self._fail("an end site holds no joints")
        if len(self.names) >= _MOST_JOINTS:
            self._fail(f"more than {_MOST_JOINTS} joints")
        self._brace()
        parent = above[-1] if above else -1
        assert parent is not None  # for mypy: refused above
        self.names.append(name)
        self.parents.append(parent)
        self.offsets.append([0.0, 0.0, 0.0])
        self.channels.append([])
        return len(self.names) - 1

    def _brace(self) -> None:
        if self._next() != ["{"]:
            self._fail("a { is missing")

    def _channels(self, words: list[str]) -> list[str]:
        known = [f"{axis}{kind}" for kind in ("position", "rotation") for axis in _AXES]
        if not words or words[0] != str(len(words) - 1) or len(set(words)) < len(words):
            self._fail("CHANNELS wants their number and then as many different names")
        for word in words[1:]:
            if word not in known:
                self._fail(f"no channel is called {word[:40]!r}; there are {', '.join(known)}")
        return words[1:]

    def _read_header(self) -> tuple[int, float]:
        if self._next() != ["MOTION"]:
            self._fail("MOTION is missing after the joints")
        words = self._next()
        (count,) = self._floats(words[1:], 1) if words[0] == "Frames:" else (0,)
        if count < 1 or count != round(count):
            self._fail("'Frames: N' is missing, with N at least 1")
        words = self._next()
        if words[:2] != ["Frame", "Time:"]:
            self._fail("'Frame Time: SECONDS' is missing")
        (seconds,) = self._floats(words[2:], 1)
        if not 1e-4 <= seconds <= 100:
            self._fail(f"a frame cannot last {seconds:g} s")
        return round(count), seconds

    def _read_frames(self, claimed: int) -> Tensor:
        """All rows that follow, (T, columns)."""
        columns = sum(map(len, self.channels))
        if not columns:
            self._fail("no joint has channels, so that nothing moves")
        numbers, frames = array("d"), 0
        while (words := next(self.lines, None)) is not None:
            if frames >= _MOST_FRAMES or len(numbers) >= _MOST_NUMBERS:
                self._fail(f"more than {_MOST_FRAMES:,} frames, or {_MOST_NUMBERS:,} numbers: cut the motion in pieces")
            numbers.extend(self._floats(words, columns))
            frames += 1
        if frames < claimed:
            self._fail(f"the file ends here, but {frames} of {claimed} frames are there")
        return torch.frombuffer(numbers, dtype=torch.float64).view(frames, columns)

    def _floats(self, words: list[str], count: int) -> list[float]:
        if len(words) != count:
            self._fail(f"{count} numbers belong here, not {len(words)}")
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            self._fail("something here is not a number")
        if not all(map(math.isfinite, numbers)):
            self._fail("a number here is not finite")
        return numbers

    def _split(self) -> Iterator[list[str]]:
        for number, line in enumerate(stream_lines(self.path), 1):
            for part in re.split(r"([{}])", line):  # some programs put braces on the lines of names
                if words := part.split():
                    self.number = number
                    yield words

    def _next(self) -> list[str]:
        words = next(self.lines, None)
        if words is None:
            self._fail("the file ends here, but more should follow")
        return words

    def _fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path} is a damaged BVH file: line {self.number}: {what}")

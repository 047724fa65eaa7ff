"""Recorded motions of people that come with PyBullet: fifteen clips of DeepMimic's, half a minute in all."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, import_optional
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_argument, require_at_least
from mmgen.data.sources.scan import Kind, notice
from mmgen.data.sources.search import search_folder
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.kinematics import turned
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import PREFIX, SUFFIX, Stretch, posed, read_clip, write_fake_clip
from mmgen.modalities.motion.sources.motion_samples import UNIT, mean_and_deviation, padded, whole

_MEASURED = 512  # training samples that give mean and deviation
_DOES = {
    "backflip": "does a backflip",
    "cartwheel": "turns a cartwheel",
    "getup_facedown": "lies face down and gets up",
    "getup_faceup": "lies face up and gets up",
    "punch": "punches",
    "roll": "rolls over the floor",
    "spinkick": "does a spinning kick",
}

_LIMBS = (
    ("spine1", "spine2", "spine3", "neck", "head"),
    ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    ("left_hip", "left_knee", "left_ankle", "left_foot"),
    ("right_hip", "right_knee", "right_ankle", "right_foot"),
)
"""What may come from another clip; the pelvis, and where it is, come with the clip that a sample is named for."""

PARTS = len(_LIMBS)
_TURN = 0.15  # radians about each axis, standard deviation


class Mocap(Source):
    """Windows of the recorded clips in the package pybullet, as features of HumanML3D's 22 joints.

    The class is the action: a clip's name, without the letter that tells several of one action apart. The end of every
    clip is held out. A training sample is a window of the rest, at a speed of its own, mirrored or not, drawn anew in
    each epoch; classes take turns. It is as long as its clip has time for, up to `frames`, in multiples of four frames.
    Held-out samples are the held-out times, cut into such windows, each of them plain and mirrored. A sample that is
    shorter than `frames` ends in a still pose.

    Args:
        frames: of the longest sample.
        fps: frames a second.
        speed: the slowest and the fastest that training samples are played, 1 for as recorded.
        clips: training samples that count as one epoch.
        held_out: share of each clip's time that is held out, at its end.
        mixed: share of the training samples whose limbs come from several clips (`mixed`), from which tokenizers
            generalise better; the class says little of them then.
        folder: a folder with clips of the same form, `humanoid3d_*.txt`, in place of the package's.
    """

    fps: float
    bounded = False

    def __init__(
        self,
        frames: int = 48,
        fps: float = 20.0,
        speed: tuple[float, float] = (0.85, 1.18),
        clips: int = 4000,
        held_out: float = 0.25,
        mixed: float = 0.0,
        folder: str | None = None,
    ) -> None:
        require_at_least(UNIT, frames=frames)
        require_at_least(1, clips=clips)
        require_argument(1 <= fps <= 240, "fps", "1 to 240 frames a second", fps)
        ordered = len(speed) == 2 and 0 < speed[0] <= speed[1] < 100
        require_argument(ordered, "speed", "the slowest and the fastest, around 1", list(speed))
        require_argument(0 < held_out < 1, "held_out", "a share of each clip, between 0 and 1", held_out)
        require_argument(0 <= mixed <= 1, "mixed", "a share of the samples, 0 to 1", mixed)
        self.frames, self.fps, self.count, self.held_out, self.mixed = frames, float(fps), clips, held_out, mixed
        self.speed = (float(speed[0]), float(speed[1]))
        self.folder = None if folder is None else Path(folder)
        self.files = _files(_package() if self.folder is None else self.folder, report=self.folder is not None)
        self.class_names = list(dict.fromkeys(map(action, self.files)))
        self.more = {"skeleton": HUMANML3D.name}
        self.sample_shape = (HUMANML3D.features, frames)
        self.crop = f"the last {held_out:g} of every clip, plain and mirrored, at most {frames} frames at a time"

    @cached_property
    def _stretches(self) -> list[tuple[Stretch, Stretch]]:
        """(to train on, held out) of each file."""
        parts = [read_clip(path).split(self.held_out) for path in self.files]
        for path, (training, held_out) in zip(self.files, parts):
            if training.seconds * self.fps / self.speed[1] < UNIT:
                raise UserError(
                    f"{path} leaves {training.seconds:.3g} s to train on, fewer than {UNIT} frames at the fastest"
                    " data.source.speed: take it away, or set data.source.held_out lower or data.source.fps higher"
                )
            if not whole(held_out.seconds * self.fps, self.frames):
                notice(f"{path}: the {held_out.seconds:.3g} s held out are fewer than {UNIT} frames, and not used")
        return parts

    def load_split(self, split: SplitName) -> Samples:
        training, held_out = zip(*self._stretches)
        samples = MocapSamples(self, training) if split == "train" else HeldOutMocap(self, held_out)
        if not len(samples):
            raise UserError(
                f"no clip is held out for {UNIT} frames: set data.source.held_out or data.source.fps higher"
            )
        return samples

    def statistics(self) -> tuple[Tensor, Tensor]:
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        samples = self.samples("train")
        batch = samples.take(torch.arange(min(_MEASURED, len(samples))))
        return mean_and_deviation(x[:, :length].mT for x, length in zip(batch["x"], batch["length"].tolist()))

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Two clips of people who sway and bow."""
        for name, joint in (("sway", "pelvis"), ("bow", "spine2")):
            write_fake_clip(Path(path) / f"{PREFIX}{name}{SUFFIX}", joint)
        return {"folder": str(path), "clips": samples}


def action(path: Path) -> str:
    """What a clip's file shows: `dance` in `humanoid3d_dance_a.txt`."""
    name = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
    before, _, letter = name.rpartition("_")
    return before if before and len(letter) == 1 else name


def _package() -> Path:
    package = import_optional("pybullet_data", "clips are in", "pybullet", "motion")
    return Path(package.getDataPath()) / "data" / "motions"


def _files(folder: Path, report: bool) -> list[Path]:
    """The clips of a folder; what else it holds is counted where that is to be reported."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: data.source.folder must hold clips, {PREFIX}*{SUFFIX}")
    contents = search_folder(folder, Kind("clip", frozenset((SUFFIX,))), deep=False)
    files = [folder / name for name in contents.names if name.startswith(PREFIX)]
    for name in contents.names:
        if not name.startswith(PREFIX):
            contents.left_aside.add(f"file(s) not called {PREFIX}*", name)
    if report:
        contents.left_aside.report(folder)
    if not files:
        raise UserError(f"{folder} has no clips in it: they are called {PREFIX}*{SUFFIX}")
    return files


def mixed(own: Stretch, times: Tensor, others: Sequence[tuple[Stretch, Tensor] | None], turns: Tensor) -> Tensor:
    """Joints (n, 22, 3) of a clip's person at some times, some of whose limbs move as in other clips.

    Args:
        own: the clip.
        times: (n,) in seconds from its beginning.
        others: for each of `PARTS`, the clip that it comes from and times (n,) of it; None for its own.
        turns: (22, 3) standard normal draws: by how much each joint is turned besides, all the time.
    """
    rotations = own.turned(times)
    for limb, other in zip(_LIMBS, others, strict=True):
        if other is not None:
            joints = [HUMANML3D.joints.index(name) for name in limb]
            rotations[:, joints] = other[0].turned(other[1])[:, joints]
    return posed(own.at(times)[:, 0], turned(rotations, _TURN * turns.to(rotations))).float()


class MocapWindows(Samples):
    """Windows of the stretches of a source's clips that are used."""

    def __init__(self, source: Mocap, stretches: Sequence[Stretch]) -> None:
        self.source, self.stretches = source, stretches
        self.clip_labels = [source.class_names.index(action(path)) for path in source.files]

    def texts(self, index: Tensor) -> list[str]:
        names = [self.source.class_names[label] for label in self.labels(index).tolist()]
        return [f"a person {_DOES.get(name, name.replace('_', ' ') + 's')}" for name in names]

    @abstractmethod
    def labels(self, index: Tensor) -> Tensor:
        """(b,) int64, the classes of the samples at index."""

    def times(self, start: float, frames: int, speed: float = 1.0) -> Tensor:
        """Seconds (frames + 1,) of a window: features take one pose more than they have frames."""
        return start + torch.arange(frames + 1, dtype=torch.float64) * (speed / self.source.fps)

    def features(self, joints: Tensor, mirrored: bool) -> Tensor:
        """Features (frames, 263) of joints (frames + 1, 22, 3)."""
        return joints_to_features(HUMANML3D.mirrored(joints) if mirrored else joints)

    def batch(self, windows: Sequence[Tensor], index: Tensor, held_out: bool) -> Batch:
        """Features of windows (n, 263). Training samples have even numbers, held-out ones odd numbers."""
        return padded(windows, self.source.frames) | {"label": self.labels(index), "sample": 2 * index + held_out}


class MocapSamples(MocapWindows):
    """Windows drawn anew in each epoch; classes take turns."""

    def __init__(self, source: Mocap, stretches: Sequence[Stretch]) -> None:
        super().__init__(source, stretches)
        labels = range(source.classes)
        self._clips = [[place for place, each in enumerate(self.clip_labels) if each == label] for label in labels]

    def __len__(self) -> int:
        return self.source.count

    def labels(self, index: Tensor) -> Tensor:
        return index % len(self._clips)

    def take(self, index: Tensor) -> Batch:
        return self.augmented(index, torch.zeros_like(index), seed=0)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        draws = Draws(seed, 2 * index, epoch)
        whether = draws.uniform("mixed") < self.source.mixed
        parts = draws.uniform("parts", PARTS, 3)
        turns = draws.normal("turns", len(HUMANML3D), 3)
        windows = []
        for row, (label, draw) in enumerate(zip(self.labels(index).tolist(), draws.uniform("window", 4).tolist())):
            stretch, times, mirrored = self._window(label, *draw)
            if whether[row]:
                joints = mixed(stretch, times, [self._other(times, *part) for part in parts[row].tolist()], turns[row])
            else:
                joints = stretch.at(times)
            windows.append(self.features(joints, mirrored))
        return self.batch(windows, index, held_out=False)

    def _window(
        self, label: int, clip: float, speed: float, start: float, mirrored: float
    ) -> tuple[Stretch, Tensor, bool]:
        """Whose motion a sample shows, when, and whether mirrored."""
        clips = self._clips[label]
        stretch = self.stretches[clips[int(clip * len(clips))]]
        (slow, fast), fps = self.source.speed, self.source.fps
        pace = slow + (fast - slow) * speed
        frames = whole(stretch.seconds * fps / pace, self.source.frames)
        room = max(0.0, stretch.seconds - frames * pace / fps)
        return stretch, self.times(start * room, frames, pace), mirrored < 0.5

    def _other(self, times: Tensor, whether: float, clip: float, start: float) -> tuple[Stretch, Tensor] | None:
        """Half of the limbs come from another clip, at any time of it, at the same speed."""
        if whether < 0.5:
            return None
        stretch = self.stretches[int(clip * len(self.stretches))]
        room = max(0.0, stretch.seconds - float(times[-1] - times[0]))
        return stretch, times - times[0] + start * room


class HeldOutMocap(MocapWindows):
    """The held-out time of every clip in windows, one after the other, each plain and then mirrored."""

    def __init__(self, source: Mocap, stretches: Sequence[Stretch]) -> None:
        super().__init__(source, stretches)
        self._windows: list[Tensor] = []
        labels, fps, frames = [], source.fps, source.frames
        for label, stretch in zip(self.clip_labels, stretches):
            for first in range(0, whole(stretch.seconds * fps, 2**31), frames):
                start = first / fps
                joints = stretch.at(self.times(start, whole((stretch.seconds - start) * fps, frames)))
                self._windows += [self.features(joints, mirrored) for mirrored in (False, True)]
                labels += [label, label]
        self._labels = torch.tensor(labels, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._windows)

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index]

    def take(self, index: Tensor) -> Batch:
        return self.batch([self._windows[place] for place in index.tolist()], index, held_out=True)

"""Windows of recorded clips: those that are drawn for training, and those that are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.sources.base import Batch, Samples
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import Stretch
from mmgen.modalities.motion.sources.mocap_mixing import PARTS, mixed
from mmgen.modalities.motion.sources.motion_samples import padded, whole

_DOES = {
    "backflip": "does a backflip",
    "cartwheel": "turns a cartwheel",
    "getup_facedown": "lies face down and gets up",
    "getup_faceup": "lies face up and gets up",
    "punch": "punches",
    "roll": "rolls over the floor",
    "spinkick": "does a spinning kick",
}


@dataclass(frozen=True)
class Cut:
    """How clips become samples.

    Args:
        class_names: of the actions.
        actions: what each clip shows.
        frames: of the longest sample.
        fps: frames a second.
    """

    class_names: Sequence[str]
    actions: Sequence[str]
    frames: int
    fps: float

    @property
    def labels(self) -> list[int]:
        """The class of each clip."""
        return [self.class_names.index(action) for action in self.actions]

    def times(self, start: float, frames: int, speed: float = 1.0) -> Tensor:
        """Seconds (frames + 1,) of a window: features take one pose more than they have frames."""
        return start + torch.arange(frames + 1, dtype=torch.float64) * (speed / self.fps)

    def features(self, joints: Tensor, mirrored: bool) -> Tensor:
        """Features (frames, 263) of joints (frames + 1, 22, 3)."""
        return joints_to_features(HUMANML3D.mirrored(joints) if mirrored else joints)

    def batch(self, windows: Sequence[Tensor], labels: Tensor, numbers: Tensor) -> Batch:
        """Features of windows (n, 263), with their labels and numbers (b,) in the whole data set."""
        return padded(windows, self.frames) | {"label": labels, "sample": numbers}

    def sentences(self, labels: Tensor) -> list[str]:
        """What a person does, for each label."""
        names = [self.class_names[label] for label in labels.tolist()]
        return [f"a person {_DOES.get(name, name.replace('_', ' ') + 's')}" for name in names]


class MocapSamples(Samples):
    """Windows drawn anew in each epoch; even numbers.

    Args:
        cut: what samples are like.
        stretches: the time of each clip that is trained on.
        speed: the slowest and the fastest.
        count: samples an epoch.
        mixed: share of them whose limbs come from several clips.
    """

    def __init__(
        self, cut: Cut, stretches: Sequence[Stretch], speed: tuple[float, float], count: int, mixed: float = 0.0
    ) -> None:
        self.cut, self.stretches, self.speed, self.count, self.mixed = cut, stretches, speed, count, mixed
        labels = cut.labels
        self._clips = [
            [place for place, each in enumerate(labels) if each == label] for label in range(len(cut.class_names))
        ]

    def __len__(self) -> int:
        return self.count

    def texts(self, index: Tensor) -> list[str]:
        return self.cut.sentences(self._labels(index))

    def take(self, index: Tensor) -> Batch:
        return self.augmented(index, torch.zeros_like(index), seed=0)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        number, labels = 2 * index, self._labels(index)
        draws = Draws(seed, number, epoch)
        whether = draws.uniform("mixed") < self.mixed
        parts = draws.uniform("parts", PARTS, 3)
        turns = draws.normal("turns", len(HUMANML3D), 3)
        windows = []
        for row, (label, draw) in enumerate(zip(labels.tolist(), draws.uniform("window", 4).tolist())):
            stretch, times, mirrored = self._window(label, *draw)
            if whether[row]:
                joints = mixed(stretch, times, [self._other(times, *part) for part in parts[row].tolist()], turns[row])
            else:
                joints = stretch.at(times)
            windows.append(self.cut.features(joints, mirrored))
        return self.cut.batch(windows, labels, number)

    def _labels(self, index: Tensor) -> Tensor:
        """Classes take turns."""
        return index % len(self._clips)

    def _window(
        self, label: int, clip: float, speed: float, start: float, mirrored: float
    ) -> tuple[Stretch, Tensor, bool]:
        """Whose motion it shows, when, and whether mirrored."""
        clips = self._clips[label]
        stretch = self.stretches[clips[int(clip * len(clips))]]
        pace = self.speed[0] + (self.speed[1] - self.speed[0]) * speed
        frames = whole(stretch.seconds * self.cut.fps / pace, self.cut.frames)
        room = max(0.0, stretch.seconds - frames * pace / self.cut.fps)
        return stretch, self.cut.times(start * room, frames, pace), mirrored < 0.5

    def _other(self, times: Tensor, whether: float, clip: float, start: float) -> tuple[Stretch, Tensor] | None:
        """Half of the parts come from another clip, at any time of it, at the same speed."""
        if whether < 0.5:
            return None
        stretch = self.stretches[int(clip * len(self.stretches))]
        room = max(0.0, stretch.seconds - float(times[-1] - times[0]))
        return stretch, times - times[0] + start * room


class HeldOutMocap(Samples):
    """The held-out time of every clip in windows, one after the other, each plain and then mirrored; odd numbers.

    Args:
        cut: what samples are like.
        stretches: the time of each clip that is held out.
    """

    def __init__(self, cut: Cut, stretches: Sequence[Stretch]) -> None:
        self.cut = cut
        self._windows: list[Tensor] = []
        labels = []
        for label, stretch in zip(cut.labels, stretches):
            for first in range(0, whole(stretch.seconds * cut.fps, 2**31), cut.frames):
                start = first / cut.fps
                frames = whole((stretch.seconds - start) * cut.fps, cut.frames)
                joints = stretch.at(cut.times(start, frames))
                self._windows += [cut.features(joints, mirrored) for mirrored in (False, True)]
                labels += [label, label]
        self._labels = torch.tensor(labels, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._windows)

    def texts(self, index: Tensor) -> list[str]:
        return self.cut.sentences(self._labels[index])

    def take(self, index: Tensor) -> Batch:
        windows = [self._windows[place] for place in index.tolist()]
        return self.cut.batch(windows, self._labels[index], 2 * index + 1)

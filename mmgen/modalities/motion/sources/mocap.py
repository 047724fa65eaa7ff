"""Recorded motions of people that come with PyBullet: fifteen clips of DeepMimic's, half a minute in all."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.scan import notice
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.modalities.motion.sources.humanoid3d import PREFIX, SUFFIX, Stretch, read_clip, write_fake_clip
from mmgen.modalities.motion.sources.mocap_samples import Cut, HeldOutMocap, MocapSamples
from mmgen.modalities.motion.sources.motion_samples import UNIT, mean_and_deviation, whole

_MEASURED = 512  # training samples that tell mean and deviation


class Mocap(Source):
    """Windows of the recorded clips in the package pybullet, as features of HumanML3D's 22 joints.

    The class is the action: a clip's name, without the letter that tells several of one action apart. The end of every
    clip is held out, and no training sample shows it. A training sample is a window of the rest, at a speed of its own,
    mirrored or not, all drawn anew in each epoch (`core.draws`); classes take turns. It is as long as its clip has
    time for, up to `frames`, in multiples of four frames. Held-out samples are the held-out times, cut into windows of
    the same kind, each of them plain and mirrored; every sample that is shorter than `frames` ends in a still pose.

    Args:
        frames: of the longest sample.
        fps: frames a second.
        speed: the slowest and the fastest that training samples are played, 1 for as recorded.
        clips: training samples that count as one epoch.
        held_out: share of each clip's time that is held out, at its end.
        mixed: share of the training samples whose limbs come from several clips (`mocap_mixing`),
            which tokenizers generalise better from; the class says little of them then.
        folder: a folder with clips of the same form, `humanoid3d_*.txt`, in place of the package's.

    Raises:
        UserError: an argument is out of range; the package or the folder is missing, or holds no clip; and when samples
            are asked for, a clip is damaged, or too short.
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
        for name, value, least in (("frames", frames, UNIT), ("clips", clips, 1)):
            if value < least:
                raise UserError(f"data.source.{name} must be at least {least}, got {value}")
        if not 1 <= fps <= 240:
            raise UserError(f"data.source.fps must be 1 to 240 frames a second, got {fps:g}")
        if len(speed) != 2 or not 0 < speed[0] <= speed[1] < 100:
            raise UserError(f"data.source.speed must be the slowest and the fastest, around 1, got {list(speed)}")
        if not 0 < held_out < 1:
            raise UserError(f"data.source.held_out must be a share of each clip, between 0 and 1, got {held_out:g}")
        if not 0 <= mixed <= 1:
            raise UserError(f"data.source.mixed must be a share of the samples, 0 to 1, got {mixed:g}")
        self.frames, self.fps, self.count, self.held_out, self.mixed = frames, float(fps), clips, held_out, mixed
        self.speed = (float(speed[0]), float(speed[1]))
        self.folder = None if folder is None else Path(folder)
        self.files = _files(_package() if self.folder is None else self.folder)
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

    @cached_property
    def _splits(self) -> dict[str, Samples]:
        training, held_out = zip(*self._stretches)
        cut = Cut(self.class_names, [action(path) for path in self.files], self.frames, self.fps)
        return {
            "train": MocapSamples(cut, training, self.speed, self.count, self.mixed),
            "val": HeldOutMocap(cut, held_out),
        }

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if not len(self._splits[split]):
            raise UserError(
                f"no clip is held out for {UNIT} frames: set data.source.held_out or data.source.fps higher"
            )
        return self._splits[split]

    def statistics(self) -> tuple[Tensor, Tensor]:
        return self._statistics

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        samples = self.samples("train")
        batch = samples.take(torch.arange(min(_MEASURED, len(samples))))
        return mean_and_deviation(x[:, :length].mT for x, length in zip(batch["x"], batch["length"].tolist()))

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes two clips of people who sway and bow into a folder; returns the arguments that read them."""
        for name, joint in (("sway", "pelvis"), ("bow", "spine2")):
            write_fake_clip(Path(path) / f"{PREFIX}{name}{SUFFIX}", joint)
        return {"folder": str(path), "clips": samples}


def action(path: Path) -> str:
    """What a clip's file shows: `dance` in `humanoid3d_dance_a.txt`."""
    name = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
    before, _, letter = name.rpartition("_")
    return before if before and len(letter) == 1 else name


def _package() -> Path:
    try:
        import pybullet_data
    except ImportError:
        raise UserError("clips are in the package pybullet, which is missing: pip install 'mmgen[motion]'") from None
    return Path(pybullet_data.getDataPath()) / "data" / "motions"


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: data.source.folder must hold clips, {PREFIX}*{SUFFIX}")
    files = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
    if not files:
        raise UserError(f"{folder} has no clips in it: they are called {PREFIX}*{SUFFIX}")
    return files

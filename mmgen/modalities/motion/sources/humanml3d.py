"""Motions with captions from a folder, as HumanML3D (Guo et al. 2022) and KIT-ML are laid out; read when needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require_one_of
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_argument, require_at_least
from mmgen.data.sources.captions import Captions, read_by, unreadable
from mmgen.data.sources.listing import ListedSamples, Listing
from mmgen.data.sources.scan import cache_folder, notice, report_skipped, require_apart
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from mmgen.modalities.motion.sources.motion_folder import (
    FEATURES,
    TEXTS,
    Caption,
    Survey,
    find_skeleton,
    list_motions,
    motions_folder,
    read_captions,
    read_features,
    survey,
)
from mmgen.modalities.motion.sources.motion_samples import UNIT, padded, whole


class Part(NamedTuple):
    """Frames `start` to `end` (excluded) of the motion in a file, with their captions, where these are read."""

    file: str
    start: int
    end: int
    captions: tuple[str, ...]


class CaptionedMotions(ListedSamples):
    """A window of every part of a motion, of `frames` at most; the listing has columns `start` and `end`.

    `take` begins at the part's beginning and has its first caption; training begins anywhere, if the part is longer
    than the window, and has any of them.
    """

    draws = "window", 2

    def __init__(self, listing: Listing, skeleton: Skeleton, frames: int, text: Text | None) -> None:
        super().__init__(listing, "motion", text=text)
        self.skeleton, self.frames = skeleton, frames

    def collate(self, samples: list[Tensor]) -> Batch:
        return padded(samples, self.frames)

    def caption_chance(self, draws: Draws) -> Tensor:
        return draws.uniform(*self.draws)[:, 1]

    def read(self, place: int, draws: Sequence[float] | None) -> Tensor:
        path, start, end = self.listing.path(place), *(int(self.listing.more[name][place]) for name in ("start", "end"))
        features = read_features(path, self.skeleton)
        if len(features) < end:
            raise UserError(f"{path} has {len(features)} frames, and had {end} before training")
        frames = whole(end - start, self.frames)
        start += 0 if draws is None else int(draws[0] * (end - start - frames + 1))
        return features[start : start + frames]


class HumanML3D(Source):
    """Motions in `new_joint_vecs/NAME.npy` (features) or, without these, `new_joints/NAME.npy` (joints in metres, which
    are turned to features), their captions in `texts/NAME.txt`, and the names of each split in `train.txt` and so on.

    A caption of a part of a motion makes a sample of that part. Files that are unreadable, of another skeleton, without
    a frame, or with numbers that are not finite, and those without a caption, are skipped: each kind is reported in one
    line, with names. The folder is looked through once, and the result is kept in the user's cache, with mean and
    deviation: `Mean.npy` and `Std.npy` are not read.

    Args:
        root: the folder.
        frames: of the longest sample. Longer motions are cut, anywhere in training; shorter ones end in a still pose.
        least: frames of the shortest motion that is used; KIT-ML is published with 24.
        fps: frames a second of the files; None for 20, or KIT-ML's 12.5 for motions of its skeleton.
        captions: read them too; without them, motions need none, and are used whole.
        alphabet: the characters of a caption, lower case unless it has capitals; None for those that captions hold.
        max_text: characters of the longest caption; None for the longest there is.
        held_out: the list of the held-out motions, `val` or `test`.
        cache: folder for that result; None for `$XDG_CACHE_HOME/mmgen/humanml3d`.
    """

    fps: float
    bounded = False

    def __init__(
        self,
        root: str | Path,
        frames: int = 196,
        least: int = 40,
        fps: float | None = None,
        captions: bool = True,
        alphabet: str | None = None,
        max_text: int | None = None,
        held_out: Literal["val", "test"] = "val",
        cache: str | None = None,
    ) -> None:
        inside = UNIT <= least <= frames
        require_argument(inside, "least", f"{UNIT} to data.source.frames {frames}", least)
        require_argument(fps is None or 1 <= fps <= 240, "fps", "1 to 240", fps)
        require_at_least(1, max_text=max_text)
        require_one_of("data.source.held_out", held_out, ("val", "test"))
        self.root, self.frames, self.least, self.captions = Path(root), frames, least, captions
        self.alphabet, self.max_text = alphabet, max_text
        self.cache = cache_folder() / "humanml3d" if cache is None else Path(cache)
        self.folder = motions_folder(self.root)
        lists: dict[SplitName, str] = {"train": "train", "val": held_out}
        self._lists = {split: list_motions(self.root, self.folder, name) for split, name in lists.items()}
        require_apart(self._lists.values(), f"train.txt and {held_out}.txt of {root}")
        self.skeleton = find_skeleton(self._paths())
        self.fps = fps or (12.5 if self.skeleton is KIT else 20.0)
        self.more = {"skeleton": self.skeleton.name}
        self.sample_shape = (self.skeleton.features, frames)
        self.crop = f"the first frames of a motion, {frames} at most"

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]  # what is not given follows from the captions
        if not self.captions:
            return None
        if self.alphabet is not None and self.max_text is not None:
            return Text(self.alphabet, self.max_text)
        captions = [caption for parts in self._parts.values() for part in parts for caption in part.captions]
        if not captions:
            raise self._without_any("train")
        return read_by(captions, self.alphabet, self.max_text)[0]

    def load_split(self, split: SplitName) -> Samples:
        parts = self._readable[split]
        if not parts:
            raise self._without_any(split)
        listing = Listing.of(
            self.root,
            [part.file for part in parts],
            None,
            first=0 if split == "train" else len(self._readable["train"]),
            captions=None if self.text is None else Captions.of(part.captions for part in parts),
            more={name: torch.tensor([getattr(part, name) for part in parts]) for name in ("start", "end")},
        )
        return CaptionedMotions(listing, self.skeleton, self.frames, self.text)

    def statistics(self) -> tuple[Tensor, Tensor]:
        return self._survey.statistics

    def _without_any(self, split: str) -> UserError:
        captions = ", with captions," if self.captions else ""
        purpose = "train on" if split == "train" else "hold out"
        return UserError(f"{self.root} has no usable motions{captions} of {self.least} or more frames to {purpose}")

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._paths(), len(self._lists["train"]), self.skeleton, self.cache)

    @cached_property
    def _parts(self) -> dict[SplitName, list[Part]]:
        """The usable parts of each split, whatever their captions say."""
        parts: dict[SplitName, list[Part]] = {split: [] for split in self._lists}
        without: dict[str, str] = {}
        short = 0
        for split, names in self._lists.items():
            for name in names:
                if name not in self._survey.frames:
                    continue
                try:
                    cut = self._cut(name)
                except UserError as error:
                    without[name] = str(error)
                    continue
                long = [part for part in cut if part.end - part.start >= self.least]
                parts[split] += long
                short += len(cut) - len(long)
        report_skipped(self.root / TEXTS, without)
        if short:
            notice(f"{self.root}: {short} motion(s) or part(s) of fewer than {self.least} frames skipped")
        return parts

    def _cut(self, name: str) -> list[Part]:
        """The whole motion, and the parts of it, that have captions."""
        last = self._survey.frames[name]
        grouped: dict[tuple[int, int], list[str]] = {}
        captions = read_captions(self.root / TEXTS / f"{name}.txt") if self.captions else [Caption("", 0.0, None)]
        for caption in captions:
            end = last if caption.end is None else min(last, int(caption.end * self.fps))
            texts = grouped.setdefault((int(caption.begin * self.fps), end), [])
            texts += [caption.text] if self.captions else []
        return [Part(f"{self.folder}/{name}.npy", *place, tuple(texts)) for place, texts in grouped.items()]

    @cached_property
    def _readable(self) -> dict[SplitName, list[Part]]:
        """Parts with those captions that can be encoded, and without the parts that have none left."""
        text, readable = self.text, {split: list[Part]() for split in self._parts}
        if text is None:
            return self._parts
        for split, parts in self._parts.items():
            reasons: dict[str, str] = {}
            for part in parts:
                problems = {caption: unreadable(caption, text, text.length) for caption in part.captions}
                reasons |= {Path(part.file).stem: problem for problem in problems.values() if problem is not None}
                captions = tuple(caption for caption, problem in problems.items() if problem is None)
                readable[split] += [part._replace(captions=captions)] if captions else []
            report_skipped(self.root / TEXTS, reasons)
        return readable

    def _paths(self) -> list[Path]:
        """Of all motions, those to train on first."""
        return [self.root / self.folder / f"{name}.npy" for names in self._lists.values() for name in names]

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """People who sway as they glide forward, with captions, one in five of them held out."""
        root, lists = Path(path), {"train": "", "val": ""}
        for folder in (FEATURES, TEXTS):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(samples):
            name, pace = f"{number:06d}", ("slowly", "fast")[number % 2]
            time = torch.arange(51 + number % 3) / 20
            angle = 0.2 * (2 * torch.pi * (1 + number % 2) * time).sin()
            rotations = torch.zeros(len(time), len(HUMANML3D), 4)
            rotations[..., 0] = 1
            rotations[:, 3] = torch.stack([angle.cos(), 0 * angle, 0 * angle, angle.sin()], 1)
            place = torch.stack([0 * time, 0 * time + 0.9, (1 + number % 2) * time / 2], 1)
            np.save(root / FEATURES / f"{name}.npy", joints_to_features(HUMANML3D.forward(place, rotations)).numpy())
            texts = (f"one person glides on {pace}.", f"someone sways {pace}")
            (root / TEXTS / f"{name}.txt").write_text("".join(f"{each}#words/NOUN#0.0#0.0\n" for each in texts))
            lists["train" if number % 5 else "val"] += f"{name}\n"
        for split, names in lists.items():
            (root / f"{split}.txt").write_text(names)
        return {"root": str(path), "frames": 48, "cache": str(root / "cache")}

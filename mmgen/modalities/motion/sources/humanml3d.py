"""Motions with captions from a folder, as HumanML3D (Guo et al. 2022) and KIT-ML are laid out; read when needed."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.recording import cache_folder
from mmgen.data.sources.scan import notice
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT
from mmgen.modalities.motion.sources.captioned_motions import CaptionedMotions, MotionListing, Part
from mmgen.modalities.motion.sources.motion_folder import (
    FEATURES,
    TEXTS,
    Caption,
    find_skeleton,
    list_motions,
    motions_folder,
    read_captions,
)
from mmgen.modalities.motion.sources.motion_samples import UNIT
from mmgen.modalities.motion.sources.motion_survey import Survey, survey, tell_skipped


class HumanML3D(Source):
    """Motions in `new_joint_vecs/NAME.npy` (features) or, without these, `new_joints/NAME.npy` (joints in metres, which
    are turned to features), their captions in `texts/NAME.txt`, and the names of each split in `train.txt` and so on.

    A caption of a part of a motion makes a sample of that part. Files that are unreadable, of another skeleton, without
    a frame, or with numbers that are none, and those without a caption, are skipped: each kind is told in one line,
    with names. The folder is looked through once, and what is found is kept in the user's cache, mean and deviation
    too: `Mean.npy` and `Std.npy` are not read.

    Args:
        root: the folder.
        frames: of the longest sample. Longer motions are cut, anywhere in training; shorter ones end in a still pose.
        least: frames of the shortest motion that is used; KIT-ML is published with 24.
        fps: frames a second of the files; None for 20, or KIT-ML's 12.5 for motions of its skeleton.
        captions: read them too; without them, motions need none, and are used whole.
        alphabet: the characters of a caption, lower case unless it has capitals; None for those that captions hold.
        max_text: characters of the longest caption; None for the longest there is.
        held_out: the list of the held-out motions, `val` or `test`.
        cache: folder to keep in what is found; None for `$XDG_CACHE_HOME/mmgen/humanml3d`.

    Raises:
        UserError: the folder is not laid out so, or holds no usable motion, or an argument is out of range.
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
        if not UNIT <= least <= frames:
            raise UserError(f"data.source.least must be {UNIT} to data.source.frames {frames}, got {least}")
        if (fps is not None and not 1 <= fps <= 240) or (max_text is not None and max_text < 1):
            raise UserError(
                f"data.source.fps must be 1 to 240 and data.source.max_text at least 1, got {fps} and {max_text}"
            )
        if held_out not in ("val", "test"):
            raise UserError(f"data.source.held_out must be 'val' or 'test', got {held_out!r}")
        self.root, self.frames, self.least, self.captions = Path(root), frames, least, captions
        self.alphabet, self.max_text = alphabet, max_text
        self.cache = cache_folder() / "humanml3d" if cache is None else Path(cache)
        self.folder = motions_folder(self.root)
        lists = {"train": "train", "val": held_out}
        self._lists = {split: list_motions(self.root, self.folder, name) for split, name in lists.items()}
        both = sorted(set(self._lists["train"]) & set(self._lists["val"]))
        if both:
            raise UserError(f"{both[0]} is in both train.txt and {held_out}.txt of {root}; take it out of one")
        self.skeleton = find_skeleton(self._paths())
        self.fps = fps or (12.5 if self.skeleton is KIT else 20.0)
        self.class_names = []
        self.more = {"skeleton": self.skeleton.name}
        self.sample_shape = (self.skeleton.features, frames)
        self.crop = f"the first frames of a motion, {frames} at most"

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]  # what is not given follows from the captions
        if not self.captions:
            return None
        if self.alphabet is not None and self.max_text is not None:
            return Text(self.alphabet, self.max_text)
        said = [caption for parts in self._parts.values() for part in parts for caption in part.captions]
        if not said:
            raise self._without_any("train")
        given = Text(self.alphabet or " ", 1)
        normal = [given.normal(caption) for caption in said]
        alphabet = "".join(sorted(set("".join(normal)))) if self.alphabet is None else self.alphabet
        known = [len(caption) for caption in normal if set(caption) <= set(alphabet)]
        return Text(alphabet, self.max_text or max(known, default=1))

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        return self._splits[split]

    def statistics(self) -> tuple[Tensor, Tensor]:
        return self._survey.statistics

    @cached_property
    def _splits(self) -> dict[str, CaptionedMotions]:
        splits, first = {}, 0
        for split, parts in self._parts.items():
            usable = parts if self.text is None else _readable(parts, self.text, self.root / TEXTS)
            if not usable:
                raise self._without_any(split)
            listing = MotionListing.of(self.root, usable, first)
            splits[split], first = CaptionedMotions(listing, self.skeleton, self.frames, self.text), first + len(usable)
        return splits

    def _without_any(self, split: str) -> UserError:
        captions = ", with captions," if self.captions else ""
        purpose = "train on" if split == "train" else "hold out"
        return UserError(f"{self.root} has no usable motions{captions} of {self.least} or more frames to {purpose}")

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._paths(), len(self._lists["train"]), self.skeleton, self.cache)

    @cached_property
    def _parts(self) -> dict[str, list[Part]]:
        """What can be used of each split, as far as the files themselves tell."""
        parts: dict[str, list[Part]] = {}
        without: dict[str, str] = {}
        short = 0
        for split, names in self._lists.items():
            parts[split] = []
            for name in names:
                if name not in self._survey.frames:
                    continue
                try:
                    captions = self._captions(name)
                except UserError as error:
                    without[name] = str(error)
                    continue
                found = self._cut(name, captions)
                parts[split] += [part for part in found if part.end - part.start >= self.least]
                short += sum(part.end - part.start < self.least for part in found)
        tell_skipped(self.root / TEXTS, without)
        if short:
            notice(f"{self.root}: {short} motion(s) or part(s) of fewer than {self.least} frames skipped")
        return parts

    def _captions(self, name: str) -> list[Caption]:
        return read_captions(self.root / TEXTS / f"{name}.txt") if self.captions else [Caption("", 0.0, None)]

    def _cut(self, name: str, captions: list[Caption]) -> list[Part]:
        """The whole motion, and the parts of it, that have captions."""
        last = self._survey.frames[name]
        grouped: dict[tuple[int, int], list[str]] = {}
        for caption in captions:
            end = last if caption.end is None else min(last, int(caption.end * self.fps))
            grouped.setdefault((int(caption.begin * self.fps), end), []).extend([caption.said] if self.captions else [])
        return [Part(f"{self.folder}/{name}.npy", *place, tuple(said)) for place, said in grouped.items()]

    def _paths(self) -> list[Path]:
        """Of all motions, those to train on first."""
        return [self.root / self.folder / f"{name}.npy" for names in self._lists.values() for name in names]

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes motions of people who sway as they glide forward, with captions, one in five of them held out; returns
        the arguments that read them.

        Args:
            path: a folder, made if it does not exist.
            samples: of both splits, at least 2.
        """
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
            said = (f"one person glides on {pace}.", f"someone sways {pace}")
            (root / TEXTS / f"{name}.txt").write_text("".join(f"{each}#words/NOUN#0.0#0.0\n" for each in said))
            lists["train" if number % 5 else "val"] += f"{name}\n"
        for split, names in lists.items():
            (root / f"{split}.txt").write_text(names)
        return {"root": str(path), "frames": 48, "cache": str(root / "cache")}


def _readable(parts: list[Part], text: Text, folder: Path) -> list[Part]:
    """With those captions that can be encoded, and without the parts that have none left; what is left out is told."""
    kept, unknown, long = [], {}, {}
    for part in parts:
        captions = []
        for said in part.captions:
            normal = text.normal(said)
            name = Path(part.file).stem
            if strange := sorted(set(normal) - set(text.alphabet)):
                unknown[name] = f"{', '.join(map(repr, strange))} is not in data.source.alphabet"
            elif len(normal) > text.length:
                long[name] = f"{said[:40]!r} has {len(normal)} characters, more than {text.length}"
            else:
                captions.append(said)
        if captions:
            kept.append(part._replace(captions=tuple(captions)))
    for skipped in (unknown, long):
        tell_skipped(folder, skipped)
    return kept

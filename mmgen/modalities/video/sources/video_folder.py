"""Videos in folders, a folder a class, as UCF-101 and Kinetics are laid out; read when they are needed."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import FreeText
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.caption_files import add_captions, vocabulary_of
from mmgen.data.sources.classes import Classes, find_classes, split_folders
from mmgen.data.sources.listing import Listing, list_folder, list_lines
from mmgen.data.sources.scan import VIDEOS, check_no_strip, skim, tell_conversions
from mmgen.media.video import write_mp4
from mmgen.media.video_file import VideoHeader, check_length, import_av, read_header
from mmgen.modalities.video.sources.video_samples import ClipAugment, VideoClips


class VideoFolder(Source):
    """Videos in `root/train/CLASS/*` and `root/val/CLASS/*` (Kinetics), in `root/CLASS/*`, or `root/*` without classes.

    Which videos are held out is told by the folders `train` and `val`, or by two lists (UCF-101); otherwise video
    number i of the sorted files is, when i % held_out == 0. Any frame rate, constant or not, and any size will do, odd
    ones too. Unreadable files, files without a frame, and videos shorter than a clip are skipped, class folders without
    videos are no classes: each told in one line, with a count. Captions are read as `ImageFolder` reads them, from
    `NAME.txt` beside a video, `metadata.jsonl` or `captions.csv`. Files and folders named with a leading dot are
    ignored.

    Args:
        root: the folder.
        frames: of a clip.
        size: side of a frame, or [height, width].
        channels: 3 for colour, 1 for grey.
        fps: frames a second of a clip. A video's own timestamps tell which frame is shown when, so that a faster one
            loses frames and a slower one has some twice.
        augment: what training sees: `crop` (a random stretch of the video, a random cut of the picture, up to 1 / 0.8
            larger than the clip, mirrored or not), `flip` (a random stretch, the centre, mirrored or not), `start` (a
            random stretch, the centre), or `none` (the middle, the centre).
        held_out: one in so many is held out, where there are neither `val` nor lists.
        names: a text file with a line for each class: the name of its folder, a space, the name to show.
        train_list: a text file with lines CLASS/NAME, relative to root: the videos to train on.
        val_list: the same for validation; both lists or none.
        check: open every file once before training. Without it a large folder starts at once, and files that cannot be
            used are found when they are read.

    Raises:
        UserError: there is no such folder, or no video in it, or an argument is out of range.
    """

    fps: float
    crop = "the middle of the video, the centre of the picture, scaled bicubically with antialiasing"

    def __init__(
        self,
        root: str | Path,
        frames: int = 16,
        size: int | tuple[int, int] = 64,
        channels: int = 3,
        fps: float = 8.0,
        augment: ClipAugment = "crop",
        held_out: int = 10,
        names: str | None = None,
        train_list: str | None = None,
        val_list: str | None = None,
        check: bool = True,
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if min(frames, height, width) < 1 or channels not in (1, 3) or held_out < 2:
            raise UserError(
                "data.source.frames and data.source.size must be at least 1, data.source.channels 1 or 3,"
                " data.source.held_out at least 2, got"
                f" {frames}, {size}, {channels} and {held_out}"
            )
        if not 0 < fps < math.inf:
            raise UserError(f"data.source.fps must be above 0, got {fps:g}")
        if (train_list is None) != (val_list is None):
            raise UserError("data.source.train_list and data.source.val_list go together: give both or neither")
        import_av()
        self.fps, self.augment, self.held_out, self.check = fps, augment, held_out, check
        self.sample_shape = self._shape = (channels, frames, height, width)
        self.lists = None if train_list is None or val_list is None else (Path(train_list), Path(val_list))
        self.root = Path(root)
        self.train, self.val = split_folders(self.root, VIDEOS) if self.lists is None else (self.root, None)
        self._classes: Classes = find_classes(self.train, None if names is None else Path(names), VIDEOS)
        self.class_names = self._classes.names
        self._splits: dict[str, VideoClips] = {}

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if not self._splits:
            for name, part in self._parts().items():
                if not len(part):
                    needed = f"at least {self._shape[1]} frames at {self.fps:g} a second"
                    raise UserError(f"{part.root} has no usable videos of {needed} for the {name} split; add some")
                augment = self.augment if name == "train" else "none"
                self._splits[name] = VideoClips(part, self._shape, self.fps, augment)
        return self._splits[split]

    @cached_property
    def caption_vocabulary(self) -> FreeText | None:
        return vocabulary_of(self._listings.values())

    def _parts(self) -> dict[str, Listing]:
        """The usable videos of both splits."""
        parts = {name: self._usable(listing) for name, listing in self._listings.items()}
        return parts if len(parts) > 1 else dict(zip(("train", "val"), parts["train"].hold_out(self.held_out)))

    @cached_property
    def _listings(self) -> dict[str, Listing]:
        """The videos of each list or folder, unopened, with their captions."""
        return add_captions(self._unopened(), self.root, VIDEOS.word)

    def _unopened(self) -> dict[str, Listing]:
        root, classes = self.train, self._classes
        if self.lists is not None:
            train = list_lines(self.lists[0], root, classes, first=0)
            val = list_lines(self.lists[1], root, classes, first=len(train))
            both = sorted(set(train.names) & set(val.names))
            if both:
                raise UserError(
                    f"{os.fsdecode(both[0])} is in both data.source.train_list and data.source.val_list; take it"
                    f" out of one"
                )
            return {"train": train, "val": val}
        train = list_folder(root, classes, first=0)
        return {"train": train} | (
            {} if self.val is None else {"val": list_folder(self.val, classes, first=len(train))}
        )

    def _usable(self, listing: Listing) -> Listing:
        """Without the videos that cannot be used, if they are to be looked through at all."""
        if not self.check:
            return listing
        headers = skim(listing.root, [os.fsdecode(name) for name in listing.names], self._header)
        tell_conversions(listing.root, self._conversions(headers), VIDEOS)
        kept = listing.choose(torch.tensor([header is not None for header in headers], dtype=torch.bool))
        seconds = [header.seconds for header in headers if header is not None]
        return replace(kept, seconds=torch.tensor(seconds, dtype=torch.float64))

    def _header(self, path: Path) -> VideoHeader:
        header = read_header(path)
        check_no_strip(path, header.size)
        check_length(path, header.seconds, self._shape[1], self.fps)
        return header

    def _conversions(self, headers: list[VideoHeader | None]) -> Iterator[str]:
        for header in headers:
            if header is not None and header.fps is not None and header.fps < 0.99 * self.fps:
                yield f"frames repeated, because there are fewer than {self.fps:g} a second,"

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2) -> dict[str, Any]:
        """Writes small MP4 files of noise that drifts sideways, 25 frames at 10 a second, one video in five for
        validation, labels in turn.

        Args:
            path: a folder, made if it does not exist.
            samples: of both splits, at least 2.
            classes: number of class folders.

        Returns:
            the arguments that read them.
        """
        noise = Draws(0, torch.arange(samples)).uniform("fake videos", 3, 5, 6).float() * 2 - 1
        for number, image in enumerate(noise):
            large = image.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, : 40 - number % 3 * 7]
            clip = torch.stack([large.roll(time, 2) for time in range(25)], dim=1)
            folder = Path(path) / ("train" if number % 5 else "val") / f"class_{number % classes}"
            folder.mkdir(parents=True, exist_ok=True)
            write_mp4(clip, folder / f"{number:05d}.mp4", fps=10)
        return {"root": str(path)}

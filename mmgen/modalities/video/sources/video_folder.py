"""Videos in folders, a folder a class, as UCF-101 and Kinetics are laid out; read when they are needed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources.base import Samples, SplitName, require_argument, require_at_least
from mmgen.data.sources.folder import SMALLEST_CROP, FolderSource
from mmgen.data.sources.listing import ListedSamples, Listing, usable
from mmgen.data.sources.scan import VIDEOS, require_apart
from mmgen.media.image_file import check_no_strip
from mmgen.media.images import crop
from mmgen.media.video import write_mp4
from mmgen.media.video_file import VideoHeader, check_length, import_av, read_frames, read_header

ClipAugment = Literal["crop", "flip", "start", "none"]


class VideoClips(ListedSamples):
    """A clip (C, T, H, W) of every video: frame i is the one shown `i / fps` seconds after the clip's beginning.

    `take` gives the middle of the video and the centre of its picture. Training sees what `augment` says, the same cut
    in all frames of a clip.
    """

    draws = "clip", 5

    def __init__(self, listing: Listing, shape: tuple[int, int, int, int], fps: float, augment: ClipAugment) -> None:
        super().__init__(listing, VIDEOS.word, augment != "none")
        self.shape, self.fps, self.augment = shape, fps, augment

    def read(self, place: int, draws: Sequence[float] | None) -> Tensor:
        begin, scale, top, left, mirrored = (0.5, 0.0, 0.5, 0.5, 1.0) if draws is None else draws
        if self.augment != "crop":
            scale, top, left = 0.0, 0.5, 0.5
        flipped = self.augment in ("crop", "flip") and mirrored < 0.5
        path, seconds = self.listing.path(place), self.listing.more.get("seconds")
        channels, frames, *size = self.shape
        whole = read_header(path).seconds if seconds is None else seconds[place].item()
        start = begin * max(0.0, whole - frames / self.fps)
        images = read_frames(path, [start + index / self.fps for index in range(frames)], channels)
        zoom = 1 / (1 - (1 - SMALLEST_CROP) * scale)
        return torch.stack([crop(image, (size[0], size[1]), zoom, top, left, flipped) for image in images], dim=1)


class VideoFolder(FolderSource):
    """Videos in `root/train/CLASS/*` and `root/val/CLASS/*` (Kinetics), in `root/CLASS/*`, or `root/*` without classes.

    The folders `train` and `val`, or two lists (UCF-101), say which videos are held out; otherwise video number i of
    the sorted files is, when i % held_out == 0. Any frame rate, constant or not, and any size will do. Unreadable
    files, files without a frame, and videos shorter than a clip are skipped, class folders without videos are no
    classes: each is reported in one line, with a count. Captions are read as `ImageFolder` reads them, from `NAME.txt`,
    `metadata.jsonl` or `captions.csv`. What else is there is left aside, and counted in one line.

    Args:
        root: the folder.
        frames: of a clip.
        size: side of a frame, or [height, width].
        channels: 3 for colour, 1 for grey.
        fps: frames a second of a clip. A video's own timestamps say which frame is shown when, so that a faster one
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
    """

    kind = VIDEOS
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
        require_at_least(1, frames=frames, size=min(height, width))
        require_at_least(2, held_out=held_out)
        require_argument(channels in (1, 3), "channels", "1 or 3", channels)
        require_argument(0 < fps < math.inf, "fps", "above 0", fps)
        if (train_list is None) != (val_list is None):
            raise UserError("data.source.train_list and data.source.val_list go together: give both or neither")
        import_av()
        self.fps, self.augment = fps, augment
        self.sample_shape = self.shape = (channels, frames, height, width)
        self.lists = None if train_list is None or val_list is None else (Path(train_list), Path(val_list))
        self.open_folder(root, held_out, names, check, splits=self.lists is None)

    def list_files(self) -> dict[SplitName, Listing]:
        if self.lists is None:
            return super().list_files()
        train = self.list_lines(self.lists[0], first=0)
        val = self.list_lines(self.lists[1], first=len(train))
        names = ([each.name(place) for place in range(len(each))] for each in (train, val))
        require_apart(names, "data.source.train_list and data.source.val_list")
        return {"train": train, "val": val}

    def describe_needed(self) -> str:
        return f"usable videos of at least {self.shape[1]} frames at {self.fps:g} a second"

    def read_listing(self, listing: Listing, augment: ClipAugment) -> Samples:
        return VideoClips(listing, self.shape, self.fps, augment)

    def _header(self, path: Path) -> VideoHeader:
        header = read_header(path)
        check_no_strip(path, header.size)
        check_length(path, header.seconds, self.shape[1], self.fps)
        return header

    def _conversions(self, header: VideoHeader) -> Iterator[str]:
        if header.fps is not None and header.fps < 0.99 * self.fps:
            yield f"frames repeated, because there are fewer than {self.fps:g} a second,"
        if header.aspect != 1:
            yield f"pixels of {header.aspect.numerator}:{header.aspect.denominator} turned to square ones"

    def check_files(self, listing: Listing) -> Listing:
        listing, headers = usable(listing, VIDEOS, self._header, self._conversions)
        return replace(listing, more={"seconds": torch.tensor([each.seconds for each in headers], dtype=torch.float64)})

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20, classes: int = 2) -> dict[str, Any]:
        """MP4 files of noise that drifts sideways, 25 frames at 10 a second, one in five for validation."""
        noise = Draws(0, torch.arange(samples)).uniform("fake videos", 3, 5, 6).float() * 2 - 1
        for number, image in enumerate(noise):
            large = image.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, : 40 - number % 3 * 7]
            clip = torch.stack([large.roll(time, 2) for time in range(25)], dim=1)
            folder = Path(path) / ("train" if number % 5 else "val") / f"class_{number % classes}"
            folder.mkdir(parents=True, exist_ok=True)
            write_mp4(clip, folder / f"{number:05d}.mp4", fps=10)
        return {"root": str(path)}

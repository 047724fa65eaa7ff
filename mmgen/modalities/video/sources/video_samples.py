"""Clips that are read from video files when they are needed: frames at a stated rate, all of one shape."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.sources.base import Batch
from mmgen.data.sources.folder_samples import SMALLEST_CROP, ListedSamples
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import VIDEOS
from mmgen.media.images import crop
from mmgen.media.video_file import read_frames, read_header

ClipAugment = Literal["crop", "flip", "start", "none"]


class VideoClips(ListedSamples):
    """A clip of every video: frame i is the one shown `i / fps` seconds after the clip's beginning.

    `take` gives the middle of the video and the centre of its picture. Training sees what `augment` says, the same cut
    in all frames of a clip. A file that turns out to be damaged, or shorter than it said, is treated as
    `mmgen.data.sources.folder_samples.FolderSamples` treats it.

    Args:
        listing: the files.
        shape: (C, T, H, W) of a clip.
        fps: frames a second of a clip.
        augment: of training; `none` for validation.
    """

    def __init__(self, listing: Listing, shape: tuple[int, int, int, int], fps: float, augment: ClipAugment) -> None:
        super().__init__(listing, VIDEOS.word)
        self.shape, self.fps, self.augment = shape, fps, augment

    def take(self, index: Tensor) -> Batch:
        return self.batch([self._clip(place) for place in index.tolist()], index)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        if self.augment == "none":
            read = [self.read_or_next(place, self._clip) for place in index.tolist()]
        else:
            slots = zip(index.tolist(), epoch.tolist())
            cuts = ((place, partial(self._random_clip, epoch=when, seed=seed)) for place, when in slots)
            read = [self.read_or_next(place, cut) for place, cut in cuts]
        index = torch.tensor([place for place, _ in read])
        return self.batch([clip for _, clip in read], index, Draws(seed, self.listing.numbers[index], epoch))

    def _random_clip(self, place: int, epoch: int, seed: int) -> Tensor:
        number = self.listing.numbers[place : place + 1]
        begin, scale, top, left, mirrored = Draws(seed, number, epoch).uniform("clip", 5)[0].tolist()
        flipped = self.augment in ("crop", "flip") and mirrored < 0.5
        if self.augment != "crop":
            return self._clip(place, begin, mirrored=flipped)
        return self._clip(place, begin, 1 / (1 - (1 - SMALLEST_CROP) * scale), top, left, flipped)

    def _clip(
        self,
        place: int,
        begin: float = 0.5,
        zoom: float = 1.0,
        top: float = 0.5,
        left: float = 0.5,
        mirrored: bool = False,
    ) -> Tensor:
        """(C, T, H, W); `begin` is 0 for the video's first frames and 1 for its last, the others as in `crop`."""
        path, (channels, frames, *size) = self.listing.path(place), self.shape
        known = self.listing.seconds
        seconds = read_header(path).seconds if known is None else known[place].item()
        start = begin * max(0.0, seconds - frames / self.fps)
        times = [start + index / self.fps for index in range(frames)]
        images = read_frames(path, times, channels)
        return torch.stack([crop(image, (size[0], size[1]), zoom, top, left, mirrored) for image in images], dim=1)

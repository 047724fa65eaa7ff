"""Crops of photographs: material for tokenizers that needs no download, for scikit-image carries it with it."""

from collections.abc import Sequence
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, import_optional
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_at_least
from mmgen.data.sources.listing import Listing, usable
from mmgen.data.sources.scan import IMAGES
from mmgen.data.sources.search import find_files
from mmgen.media.image_file import open_image, read_header
from mmgen.media.images import from_pil, save_png

TRAIN = (
    "astronaut.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    "brick.png", "camera.png", "grass.png", "gravel.png",
)  # fmt: skip
HELD_OUT = ("chelsea.png", "coffee.png")
_LARGEST = 4  # short side of a photograph, in sides of a crop, so that a crop holds more than a plain patch


class Box(NamedTuple):
    """A square of photograph number `photo`, in pixels; `mirrored` where left and right change places."""

    photo: int
    left: int
    top: int
    side: int
    mirrored: bool = False


class CropSamples(Samples):
    """Squares cut from photographs in memory and scaled to one size, with antialiasing.

    With a `count` they are drawn at random, anew in each epoch: any photograph, log-uniform scale, uniform place,
    mirrored or not; `take` gives those of epoch 0 under seed 0. Without one they lie side by side, at every scale at
    which a photograph's short side is a whole number of them.

    Args:
        photos: of mode RGB.
        size: side of a crop.
        first: number of the first sample in the whole data set.
        count: samples that make an epoch.
    """

    def __init__(self, photos: Sequence[Image.Image], size: int, first: int, count: int | None = None) -> None:
        self.photos, self.size, self.first, self.count = photos, size, first, count
        self.grid = [box for number, photo in enumerate(photos) for box in _grid(number, photo, size)]

    def __len__(self) -> int:
        return len(self.grid) if self.count is None else self.count

    def boxes(self, index: Tensor, epoch: Tensor, seed: int) -> list[Box]:
        """Where the samples at index (b,) lie."""
        if self.count is None:
            return [self.grid[place] for place in index.tolist()]
        draws = Draws(seed, index + self.first, epoch).uniform("crop", 5)
        return [self._box(*row) for row in draws.tolist()]

    def take(self, index: Tensor) -> Batch:
        return self.augmented(index, torch.zeros_like(index), seed=0)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        x = torch.stack([from_pil(self._cut(box)) for box in self.boxes(index, epoch, seed)])
        return {"x": x, "label": torch.full_like(index, NO_CLASS), "sample": index + self.first}

    def _box(self, photo: float, scale: float, left: float, top: float, mirrored: float) -> Box:
        number = int(photo * len(self.photos))
        width, height = self.photos[number].size
        side = round(self.size * (min(width, height) / self.size) ** scale)
        return Box(number, int(left * (width - side + 1)), int(top * (height - side + 1)), side, mirrored < 0.5)

    def _cut(self, box: Box) -> Image.Image:
        corners = (box.left, box.top, box.left + box.side, box.top + box.side)
        cut = self.photos[box.photo].resize((self.size, self.size), Image.Resampling.BICUBIC, corners)
        return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if box.mirrored else cut


class Photos(Source):
    """Square crops of photographs, in colour (some of them grey) and without classes.

    Whole photographs are held out: those of scikit-image named in `HELD_OUT` (a cat's fur and face; a cup on wood), or
    every fourth file of a folder. They are first scaled down until their short side is no more than 4 crops, so that a
    crop holds more than a plain patch. Training draws crops anew in every epoch; validation reads a fixed grid.

    Args:
        image_size: side of a crop, in pixels; no photograph may be smaller.
        samples: random crops that count as one epoch.
        folder: photographs of your own, in place of scikit-image's.
    """

    crop = "squares of a fixed grid, scaled down bicubically"

    def __init__(self, image_size: int = 64, samples: int = 2048, folder: str | None = None) -> None:
        require_at_least(1, image_size=image_size, samples=samples)
        self.image_size = image_size
        self.count = samples
        self.folder = None if folder is None else Path(folder)
        self.sample_shape = (3, image_size, image_size)

    @cached_property
    def _files(self) -> tuple[list[Path], list[Path]]:
        """To train on, and held out."""
        return _scikit_image() if self.folder is None else _files(self.folder)

    def load_split(self, split: SplitName) -> Samples:
        photos = [self._read(path) for path in self._files[split == "val"]]
        if split == "val":
            return CropSamples(photos, self.image_size, first=0)
        return CropSamples(photos, self.image_size, len(self.samples("val")), self.count)

    def _read(self, path: Path) -> Image.Image:
        photo = open_image(path, channels=3)
        if min(photo.size) < self.image_size:
            raise UserError(
                f"photograph {path} is {photo.width}x{photo.height} pixels, too small for crops of"
                f" data.source.image_size {self.image_size}"
            )
        scale = min(1.0, _LARGEST * self.image_size / min(photo.size))
        size = round(photo.width * scale), round(photo.height * scale)
        return photo.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Five smooth pictures of two sizes, of which so many crops make an epoch."""
        Path(path).mkdir(parents=True, exist_ok=True)
        knots = Draws(0, torch.arange(5)).uniform("fake photos", 3, 9, 12).float() * 2 - 1
        for number, picture in enumerate(knots):
            size = (288, 384) if number % 2 else (320, 264)
            smooth = torch.nn.functional.interpolate(picture[None], size, mode="bilinear")[0]
            save_png(smooth, Path(path) / f"photo{number}.png")
        return {"folder": str(path), "samples": samples}


def _grid(number: int, photo: Image.Image, size: int) -> list[Box]:
    boxes = []
    for across in range(1, min(photo.size) // size + 1):
        side = min(photo.size) // across
        columns, rows = photo.width // side, photo.height // side
        left, top = (photo.width - columns * side) // 2, (photo.height - rows * side) // 2
        boxes += [
            Box(number, left + side * column, top + side * row, side)
            for row in range(rows)
            for column in range(columns)
        ]
    return boxes


def _scikit_image() -> tuple[list[Path], list[Path]]:
    """The files to train on, and those held out."""
    data = import_optional("skimage.data", "the photographs are in", "scikit-image", "data")
    folder = Path(data.__file__).parent
    return [folder / name for name in TRAIN], [folder / name for name in HELD_OUT]


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The same of a folder: every fourth file is held out."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: data.source.folder must hold photographs")
    listing = Listing.of(folder, find_files(folder, IMAGES, deep=False), None, first=0)
    listing, _ = usable(listing, IMAGES, partial(read_header, channels=3), attrgetter("conversions"))
    parts = [[part.path(place) for place in range(len(part))] for part in listing.hold_out(4)]
    if not all(parts):
        raise UserError(f"{folder} holds {len(listing)} photograph(s) that can be used, too few to hold one in 4 out")
    return parts[0], parts[1]

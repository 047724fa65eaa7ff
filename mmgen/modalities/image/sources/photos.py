"""Crops of photographs: material for tokenizers that needs no download, for scikit-image carries it with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, check_split
from mmgen.media.images import from_pil, open_image, save_png

TRAIN = (
    "astronaut.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    "brick.png", "camera.png", "grass.png", "gravel.png",
)  # fmt: skip
HELD_OUT = ("chelsea.png", "coffee.png")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_LARGEST = 4  # short side of a photograph, in sides of a crop, so that a crop holds more than a plain patch


@dataclass(frozen=True)
class Box:
    """A square of a photograph.

    Args:
        photo: which one.
        left: in pixels.
        top: in pixels.
        side: in pixels.
        mirrored: left and right change places.
    """

    photo: int
    left: int
    top: int
    side: int
    mirrored: bool = False


class CropSamples(Samples):
    """Squares cut from photographs in memory and scaled to one size, with antialiasing.

    Args:
        photos: of mode RGB.
        size: side of a crop.
        first: number of the first sample in the whole data set.
    """

    def __init__(self, photos: Sequence[Image.Image], size: int, first: int) -> None:
        self.photos, self.size, self.first = photos, size, first

    def batch(self, boxes: list[Box], index: Tensor) -> Batch:
        """The crops at `boxes`, as samples `index` of the split."""
        x = torch.stack([from_pil(self._cut(box)) for box in boxes])
        return {"x": x, "label": torch.full_like(index, NO_CLASS), "sample": index + self.first}

    def _cut(self, box: Box) -> Image.Image:
        right, bottom = box.left + box.side, box.top + box.side
        corners = (box.left, box.top, right, bottom)
        cut = self.photos[box.photo].resize((self.size, self.size), Image.Resampling.BICUBIC, corners)
        return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if box.mirrored else cut


class GridCrops(CropSamples):
    """Crops side by side, at every scale at which a photograph's short side is a whole number of them."""

    def __init__(self, photos: Sequence[Image.Image], size: int, first: int) -> None:
        super().__init__(photos, size, first)
        self.boxes = [box for number, photo in enumerate(photos) for box in _grid(number, photo, size)]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: Tensor) -> Batch:
        return self.batch([self.boxes[place] for place in index.tolist()], index)


class RandomCrops(CropSamples):
    """Crops at random: every photograph as often as another, log-uniform scale, uniform place, mirrored or not.

    A sample is another crop in each epoch; `take` gives those of epoch 0 under seed 0.

    Args:
        photos: of mode RGB.
        size: side of a crop.
        first: number of the first sample in the whole data set.
        count: samples that make an epoch.
    """

    def __init__(self, photos: Sequence[Image.Image], size: int, first: int, count: int) -> None:
        super().__init__(photos, size, first)
        self.count = count

    def __len__(self) -> int:
        return self.count

    def take(self, index: Tensor) -> Batch:
        return self.augmented(index, torch.zeros_like(index), seed=0)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        draws = Draws(seed, index + self.first, epoch).uniform("crop", 5)
        return self.batch([self._box(*row) for row in draws.tolist()], index)

    def _box(self, photo: float, scale: float, left: float, top: float, mirrored: float) -> Box:
        number = int(photo * len(self.photos))
        width, height = self.photos[number].size
        side = round(self.size * (min(width, height) / self.size) ** scale)
        return Box(number, int(left * (width - side + 1)), int(top * (height - side + 1)), side, mirrored < 0.5)


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
        if image_size < 1 or samples < 1:
            raise UserError(
                f"data.source.image_size and data.source.samples must be at least 1, got {image_size} and {samples}"
            )
        self.image_size = image_size
        self.count = samples
        self.folder = None if folder is None else Path(folder)
        self.class_names = []
        self.sample_shape = (3, image_size, image_size)
        self._splits: dict[str, CropSamples] = {}

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if not self._splits:
            train, held_out = _scikit_image() if self.folder is None else _files(self.folder)
            grid = GridCrops([self._read(path) for path in held_out], self.image_size, first=0)
            photos = [self._read(path) for path in train]
            self._splits = {"val": grid, "train": RandomCrops(photos, self.image_size, len(grid), self.count)}
        return self._splits[split]

    def _read(self, path: Path) -> Image.Image:
        photo = open_image(path, channels=3)
        if min(photo.size) < self.image_size:
            raise UserError(
                f"photograph {path} is {photo.width}x{photo.height} pixels, too small for crops of"
                f" data.source.image_size"
                f" {self.image_size}"
            )
        scale = min(1.0, _LARGEST * self.image_size / min(photo.size))
        return photo.resize(
            (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS, reducing_gap=3.0
        )

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes five smooth pictures of two sizes into a folder; returns the arguments that read them."""
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
    try:
        import skimage.data
    except ImportError:
        raise UserError(
            "the photographs are in the package scikit-image, which is missing: pip install 'mmgen[data]'"
        ) from None
    folder = Path(skimage.data.__file__).parent
    return [folder / name for name in TRAIN], [folder / name for name in HELD_OUT]


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The same of a folder: every fourth file is held out."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: data.source.folder must hold photographs")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if len(files) < 2:
        raise UserError(f"{folder} holds {len(files)} photograph(s), and at least 2 are needed: one is held out")
    return [path for place, path in enumerate(files) if place % 4], files[::4]

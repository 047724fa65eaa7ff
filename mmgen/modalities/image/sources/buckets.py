"""Aspect-ratio buckets: a few image shapes of about equal area, so that wide and tall images lose less to a crop.

A tokenizer has one sample shape, so a run trains on the images of one bucket; the report says what each would hold, and
so which ones are worth a run.
"""

from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.base import require_argument

_AREAS = 1.25  # ratio of the largest area to the smallest: beyond it buckets differ in cost, not in shape only

Shape = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Buckets:
    """Shapes to choose from.

    Args:
        shapes: (height, width) of each.

    Raises:
        UserError: no shapes, one that is no shape, two of one aspect ratio, or areas more than a quarter apart.
    """

    shapes: tuple[Shape, ...]

    def __post_init__(self) -> None:
        valid = self.shapes and all(len(shape) == 2 and min(shape) >= 1 for shape in self.shapes)
        require_argument(bool(valid), "buckets", "a list of [height, width]", self.shapes)
        areas = [height * width for height, width in self.shapes]
        if max(areas) > _AREAS * min(areas):
            extent = f"{min(areas)} to {max(areas)} pixels"
            raise UserError(f"data.source.buckets have areas from {extent}; keep them within {_AREAS - 1:.0%}")
        ratios = [height / width for height, width in self.shapes]
        if len(set(ratios)) < len(ratios):
            raise UserError("two of data.source.buckets have the same aspect ratio, so one of them would stay empty")

    def assign(self, sizes: Tensor) -> Tensor:
        """(n,) int64: the bucket of each image of `sizes` (n, 2), heights and widths: the nearest by logarithm of the
        aspect ratio, the first of equally near ones.
        """
        return self._distances(sizes).argmin(1)

    def cropped(self, sizes: Tensor) -> Tensor:
        """(n,) float64 in [0, 1): the share of each image's area that its bucket cuts off, when the image is scaled
        until it covers the bucket.
        """
        return 1 - (-self._distances(sizes).amin(1)).exp()

    def _distances(self, sizes: Tensor) -> Tensor:
        """(n, buckets) absolute difference of the logarithms of the aspect ratios."""
        images, shapes = ((s[:, 0].double() / s[:, 1]).log() for s in (sizes, torch.tensor(self.shapes)))
        return (images[:, None] - shapes).abs()

    def report(self, sizes: Tensor, chosen: Shape) -> Table:
        """What each bucket holds and crops of images of `sizes` (n, 2), a row each; `chosen` is marked."""
        table = Table(title=f"{len(sizes)} images in {len(self.shapes)} buckets")
        for column in ("height x width", "images", "share", "area cropped, mean", "worst"):
            table.add_column(column, justify="right")
        bucket, cropped = self.assign(sizes), self.cropped(sizes)
        for number, shape in enumerate(self.shapes):
            areas = cropped[bucket == number]
            figures = [f"{areas.mean():.1%}", f"{areas.max():.1%}"] if len(areas) else ["-", "-"]
            mark = " (trained on)" if shape == chosen else ""
            share = f"{len(areas) / max(1, len(sizes)):.1%}"
            table.add_row(f"{shape[0]} x {shape[1]}{mark}", str(len(areas)), share, *figures)
        return table

"""Aspect-ratio buckets: a few image shapes of about equal area, so that wide and tall images lose less to a crop.

A tokenizer has one sample shape, so a run trains on the images of one bucket; the report says what each would hold, and
so which ones are worth a run.
"""

from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from mmgen.core.errors import UserError

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
        if not self.shapes or any(len(shape) != 2 or min(shape) < 1 for shape in self.shapes):
            raise UserError(f"data.source.buckets must be a list of [height, width], got {self.shapes}")
        areas = [height * width for height, width in self.shapes]
        if max(areas) > _AREAS * min(areas):
            areas_said = f"{min(areas)} to {max(areas)} pixels"
            raise UserError(f"data.source.buckets have areas from {areas_said}; keep them within {_AREAS - 1:.0%}")
        ratios = [height / width for height, width in self.shapes]
        if len(set(ratios)) < len(ratios):
            raise UserError("two of data.source.buckets have the same aspect ratio, so one of them would stay empty")

    def assign(self, sizes: Tensor) -> Tensor:
        """(n,) int64: the bucket of each image, the nearest by logarithm of the aspect ratio; the first of equal ones.

        Args:
            sizes: (n, 2) heights and widths.
        """
        return self._distances(sizes).argmin(1)

    def cropped(self, sizes: Tensor) -> Tensor:
        """(n,) float64 in [0, 1): the share of each image's area that its bucket cuts off.

        An image is scaled until it covers the bucket, so one side fits and the other sticks out by the quotient of the
        aspect ratios.
        """
        return 1 - (-self._distances(sizes).amin(1)).exp()

    def _distances(self, sizes: Tensor) -> Tensor:
        """(n, buckets) absolute difference of the logarithms of the aspect ratios."""
        images, shapes = (_log_ratio(each) for each in (sizes, torch.tensor(self.shapes)))
        return (images[:, None] - shapes).abs()

    def report(self, sizes: Tensor, chosen: Shape) -> Table:
        """What each bucket holds and crops, one row a bucket.

        Args:
            sizes: (n, 2) heights and widths of all images.
            chosen: the bucket that is trained on, marked.
        """
        table = Table(title=f"{len(sizes)} images in {len(self.shapes)} buckets")
        for column in ("height x width", "images", "share", "area cropped, mean", "worst"):
            table.add_column(column, justify="right")
        bucket, cropped = self.assign(sizes), self.cropped(sizes)
        for number, shape in enumerate(self.shapes):
            lost = cropped[bucket == number]
            figures = [f"{lost.mean():.1%}", f"{lost.max():.1%}"] if len(lost) else ["-", "-"]
            mark = " (trained on)" if shape == chosen else ""
            share = f"{len(lost) / max(1, len(sizes)):.1%}"
            table.add_row(f"{shape[0]} x {shape[1]}{mark}", str(len(lost)), share, *figures)
        return table


def _log_ratio(sizes: Tensor) -> Tensor:
    height, width = sizes.double().unbind(-1)
    return (height / width).log()

"""Rows of different lengths without their padding: several of them in one row of the backbone, each a document. Results
are those of the padded rows up to rounding, and the order of a batch and its random numbers do not change.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.layout import Layout


@dataclass(frozen=True, eq=False)
class Windows:
    """Where positions of B padded rows of N go: into fewer rows of N, the windows."""

    layout: Layout  # what the positions of the R windows are
    index: Tensor  # (R, N) int64, which of the B x N positions stands there; any one where none does
    back: Tensor  # (B, N) int64, which of the R x N positions each stands at; 0 for padding
    real: Tensor  # (B, N) bool, False for padding

    @property
    def row(self) -> Tensor:
        """(R, N) int64 number of the row that a position comes from."""
        return self.index // self.index.shape[1]

    def take(self, x: Tensor) -> Tensor:
        """(B, N, ...) by rows -> (R, N, ...) by windows."""
        return x.flatten(0, 1)[self.index]

    def restore(self, x: Tensor) -> Tensor:
        """(R, N, dim) by windows -> (B, N, dim) by rows, 0 at padding."""
        return torch.where(self.real[..., None], x.flatten(0, 1)[self.back], 0.0)


def windows(layout: Layout) -> Windows | None:
    """Windows for rows with padding (document < 0, anywhere in a row); None where they would be no fewer."""
    if layout.batch == 1:
        return None
    real = layout.document >= 0
    places = _places(real.sum(1).tolist(), layout.length)
    count = 1 + max(window for window, _ in places)
    if count == layout.batch:
        return None
    batch, length = real.shape
    begin = torch.tensor([window * length + offset for window, offset in places], device=real.device)
    back = torch.where(real, begin[:, None] + real.cumsum(1) - 1, 0)
    filled, index = (torch.zeros(count * length, dtype=torch.int64, device=real.device) for _ in range(2))
    index[back[real]] = torch.arange(batch * length, device=real.device).view(batch, length)[real]
    filled[back[real]] = 1
    index, filled = index.view(count, length), filled.view(count, length)
    moved = layout.map(lambda field: field.flatten(0, 1)[index])
    documents = moved.document + (index // length) * (layout.document.max() + 1)
    padding = -1 - torch.arange(length, device=real.device)
    return Windows(moved.but(document=torch.where(filled == 1, documents, padding)), index, back, real)


def _places(lengths: list[int], size: int) -> list[tuple[int, int]]:
    """(window, offset in it) of each row: the longest first, into the first window with room for it."""
    places, filled = [(0, 0)] * len(lengths), list[int]()
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        window = next((n for n, used in enumerate(filled) if used + lengths[row] <= size), len(filled))
        if window == len(filled):
            filled.append(0)
        places[row] = window, filled[window]
        filled[window] += lengths[row]
    return places

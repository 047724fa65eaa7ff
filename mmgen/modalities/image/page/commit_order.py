"""Drawings in SVG of the order in which a mode commits tokens."""

from pathlib import Path

from markupsafe import Markup
from torch import Tensor

from mmgen.page.page import fill_from

_CELL = 16


def order_map(order: Tensor, title: str) -> Markup:
    """The token grid of one sample, each place with the pass at which it was committed; the earlier, the stronger.

    Args:
        order: (h, w) int64.
        title: of the mode.
    """
    rows = order.tolist()
    spoken = "; ".join(" ".join(map(str, row)) for row in rows)
    label = f"{title}: the pass at which each token was committed, row by row: {spoken}."
    folder = Path(__file__).parent / "templates"
    return fill_from(folder, "order.html", order=rows, longest=max(map(max, rows)) or 1, label=label, side=_CELL)

"""Drawings in SVG of how a mode decodes."""

from einops import rearrange
from markupsafe import Markup

from mmgen.modalities.image.page.story import Film
from mmgen.page.page import fill

CELL = 16


def order_map(film: Film, sample: int, name: str) -> Markup:
    """The token grid of one sample, each place with the pass at which it was committed; the earlier, the stronger."""
    order = commit_passes(film, sample)
    rows = "; ".join(" ".join(map(str, row)) for row in order)
    label = f"{name}: the pass at which each token was committed, row by row: {rows}."
    return fill("image/order.html", order=order, longest=max(map(max, order)) or 1, label=label, side=CELL)


def commit_passes(film: Film, sample: int) -> list[list[int]]:
    """Rows of the token grid of one sample: the number of passes after which each place stood; 0 where it was given."""
    committed = rearrange(film.committed[:, sample], "f t h w -> f (t h) w")
    first = committed.int().argmax(0)
    return [[film.passes[frame] for frame in row] for row in first.tolist()]

"""From runs to what the page shows."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.media.mask_picture import mask_image
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.tiles import webp_bytes
from mmgen.paradigms import Paradigm

_SCALE = 1.5  # pixels a point of a mask's card


def curve(run: Path, title: str, unit: str, lines: dict[str, str], points: dict[str, str]) -> Curve:
    """What a run logged.

    Args:
        run: its folder.
        title: of the curve.
        unit: of its figures.
        lines: name of a line -> logged metric, such as `train/ar`.
        points: name of a line -> logged metric, such as `val/ar`.
    """
    rows = logged(run)

    def column(metric: str) -> list[tuple[float, float]]:
        return [(row["step"] + 1, row[metric]) for row in rows if metric in row]

    drawn = {name: column(metric) for name, metric in lines.items()}
    return Curve(title, unit, drawn, {name: column(metric) for name, metric in points.items()})


def logged(run: Path) -> list[dict[str, float]]:
    """The rows of a run's CSV logs (a resumed run has several), each with what it holds, in the order of steps."""
    rows = []
    for file in run.glob("logs/csv/version_*/metrics.csv"):
        with file.open(newline="") as opened:
            rows += [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(opened)]
    return sorted(rows, key=lambda row: row["step"])


def mask_pictures(modes: dict[str, Paradigm], layout: Callable[[Mask], Layout] | None = None) -> list[MaskPicture]:
    """The whole catalogue, those masks first that the modes train and sample under, each part of a composed one too.

    Args:
        modes: name -> paradigm.
        layout: mask in use -> what it is drawn on; the example of each by default.
    """
    used: dict[str, tuple[Mask, list[str]]] = {}
    for mode, paradigm in modes.items():
        for whole in paradigm.mask.layers:
            parts = re.split(r" [&|] ", whole.name)
            for mask in [whole, *(get_mask(part) for part in parts if len(parts) > 1)]:
                used.setdefault(mask.name, (mask, []))[1].append(mode)
    rest = {name: get_mask(name) for name in CATALOGUE if name not in used}
    return [
        *(_mask_picture(name, mask, names, layout and layout(mask)) for name, (mask, names) in used.items()),
        *(_mask_picture(name, mask, []) for name, mask in rest.items()),
    ]


def _mask_picture(name: str, mask: Mask, modes: list[str], layout: Layout | None = None) -> MaskPicture:
    shown = example(name) if layout is None else (layout, layout)
    card = mask_image(mask, *shown, scale=_SCALE)
    size = (round(card.width / _SCALE), round(card.height / _SCALE))
    return MaskPicture(name, mask.sentence, webp_bytes(card), size, modes)

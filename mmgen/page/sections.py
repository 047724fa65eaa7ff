"""Sections that the pages of all modalities have."""

from typing import Any

from mmgen.page.drawing import chart
from mmgen.page.page import Picture, Section, data_uri, figure, fill
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.wording import COLOURS, described
from mmgen.store.results import METRICS, ON_FEATURES


def training(curves: list[Curve]) -> Section | None:
    """The curves of the runs; None where nothing was logged."""
    drawn = [curve for curve in curves if any(curve.lines.values()) or any(curve.points.values())]
    if not drawn:
        return None
    charts = [{"svg": coloured(curve), "title": f"{curve.title}: {curve.unit}"} for curve in drawn]
    return Section("training", "Training", fill("training.html", charts=charts))


def masks(pictures: list[MaskPicture]) -> Section | None:
    """The masks that the modes train and sample under, and the rest; None where there are none."""
    if not pictures:
        return None
    shown = [{"picture": mask_picture(mask), "modes": [described(name) for name in mask.modes]} for mask in pictures]
    used, others = [mask for mask in shown if mask["modes"]], [mask for mask in shown if not mask["modes"]]
    return Section("masks", "Masks", fill("masks.html", used=used, others=others))


def coloured(curve: Curve) -> Any:
    """A chart whose lines have the colours of the modes that they are named after."""
    return chart(curve, {name: colour for name, (colour, _) in COLOURS.items()})


def mask_picture(mask: MaskPicture) -> Picture:
    """A mask's card."""
    return Picture(data_uri(mask.webp, "image/webp"), f"Mask {mask.name}. {mask.sentence}", *mask.size)


def metric_row(name: str, values: list[float | None]) -> dict[str, Any]:
    """A row of a table of metrics; the best figure of several is marked.

    Args:
        name: of the metric, in full.
        values: a column each; None where it was not measured.
    """
    base = next((each for each in ON_FEATURES if name.startswith(f"{each}_")), name)
    better = METRICS.get(base, "neither")
    known = [value for value in values if value is not None]
    best = {"higher": max, "lower": min}[better](known) if better != "neither" and len(set(known)) > 1 else None
    cells = [
        {"text": "–", "best": False} if x is None else {"text": figure(x, name), "best": x == best} for x in values
    ]
    return {"name": name, "cells": cells, "better": "" if better == "neither" else better}

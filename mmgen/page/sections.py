"""Sections that a page has for runs of any modality: curves, masks, tables of figures, previews, files."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.media.mask_picture import mask_image
from mmgen.page.chapter import Chapter, Column
from mmgen.page.chart import Curve, chart
from mmgen.page.page import Picture, Section, data_uri, figure, fill
from mmgen.page.runs import Run
from mmgen.page.tiles import webp_bytes
from mmgen.page.wording import join_words
from mmgen.store.results import METRICS, Figure, base_metric

_MASK_SCALE = 1.5  # pixels a point of a mask's card
_PREVIEW = 900  # pixels that a side of a preview has at most
_FIRST = ("val/loss", "val/psnr_db", "val/held_out_loss")


def training(chapter: Chapter) -> Section | None:
    """The curves of the runs; None where nothing was logged."""
    charts = []
    names = list(dict.fromkeys(mode for run in chapter.generators for mode in run.modes))
    # Generators of the same single mode are compared in one chart; the modes of one generator as well.
    together = [run for run in chapter.generators if len(chapter.generators) == 1 or len(run.modes) == 1]
    groups = [together] if len(together) > 1 and len(names) == 1 else [[run] for run in chapter.generators]
    for runs in groups:
        charts.append(_generator_chart(chapter, runs))
    charts += [_tokenizer_chart(run) for run in chapter.tokenizers]
    drawn = [each for each in charts if each is not None]
    return Section("training", "Training", fill("training.html", charts=drawn)) if drawn else None


def _generator_chart(chapter: Chapter, runs: Sequence[Run]) -> dict[str, Any] | None:
    lines, points, colours = {}, {}, {}
    for run in runs:
        for mode in run.modes:
            name = run.name if len(runs) > 1 else mode
            lines[name], points[name] = run.logged(f"train/{mode}"), run.logged(f"val/{mode}")
            colours[name] = chapter.column(run, mode).colour
    title = f"{join_words([run.name for run in runs])}: loss a token"
    return _drawn(Curve(title, lines, points), colours)


def _tokenizer_chart(run: Run) -> dict[str, Any] | None:
    held_out = [name for name in _FIRST if run.logged(name)]
    if "val/psnr_db" in held_out:
        return _drawn(Curve(f"{run.name}: PSNR in dB", {}, {"held out": run.logged("val/psnr_db")}), {})
    lines = {"training": run.logged("train/loss")}
    return _drawn(Curve(f"{run.name}: loss", lines, {"held out": run.logged("val/loss")}), {"training": "blue"})


def _drawn(curve: Curve, colours: dict[str, str]) -> dict[str, Any] | None:
    if not any(curve.lines.values()) and not any(curve.points.values()):
        return None
    return {"title": curve.title, "svg": chart(curve, colours)}


def masks(chapter: Chapter, layout: Callable[[Mask], Layout] | None = None) -> Section | None:
    """The masks that the modes train and sample under, each part of a composed one too, and the rest of the catalogue.

    Args:
        chapter: the runs.
        layout: mask in use -> what it is drawn on; the example of each by default.
    """
    used: dict[str, tuple[Mask, list[Column]]] = {}
    for run in chapter.generators:
        for mode, paradigm in run.modes.items():
            layers = paradigm.mask.layers
            parts = [part for whole in layers for part in re.split(r" [&|] ", whole.name)]
            for mask in [*layers, *(get_mask(part) for part in parts if len(parts) > 1)]:
                columns = used.setdefault(mask.name, (mask, []))[1]
                if (column := chapter.column(run, mode)) not in columns:
                    columns.append(column)
    if not used:
        return None
    cards = [
        {"picture": _mask_card(mask, layout and layout(mask)), "columns": columns} for mask, columns in used.values()
    ]
    others = [_mask_card(get_mask(name)) for name in CATALOGUE if name not in used]
    return Section("masks", "Masks", fill("masks.html", used=cards, others=others))


def _mask_card(mask: Mask, layout: Layout | None = None) -> Picture:
    card = mask_image(mask, *(example(mask.name) if layout is None else (layout, layout)), scale=_MASK_SCALE)
    size = (round(card.width / _MASK_SCALE), round(card.height / _MASK_SCALE))
    return Picture(data_uri(webp_bytes(card), "image/webp"), f"Mask {mask.name}. {mask.sentence}", *size)


def metrics(chapter: Chapter) -> Section | None:
    """All figures, side by side: a column for each run, mode and way of measuring; None where nothing was measured."""
    tables = []
    for runs, title in ((chapter.generators, "Generators"), (chapter.tokenizers, "Tokenizers")):
        ways = measured_ways(runs)
        if not ways:
            continue
        columns = _titled(chapter, ways)
        rows = [metric_row(name, [way.get(name) for way in ways.values()]) for name in _metric_names(ways)]
        counts = sorted({each.samples for way in ways.values() for each in way.values()})
        tables.append({"title": title, "columns": columns, "rows": rows, "counts": counts})
    if not tables:
        return None
    networks = dict.fromkeys(each.extractor for run in chapter.runs for each in run.figures if each.extractor)
    accuracies = {
        each.extractor: each.protocol["extractor_accuracy"]
        for run in chapter.runs
        for each in run.figures
        if each.extractor and each.protocol and "extractor_accuracy" in each.protocol
    }
    commands = list(dict.fromkeys(each.command for run in chapter.runs for each in run.figures))
    body = fill(
        "metrics.html", tables=tables, networks=list(networks), accuracies=accuracies, commands=commands,
        single=len(tables) == 1,
    )  # fmt: skip
    return Section("metrics", "Metrics", body)


Way = tuple[Run, str | None, str | None, str]
"""What has a column of figures: run, mode, settings and data."""


def measured_ways(runs: Sequence[Run]) -> dict[Way, dict[str, Figure]]:
    """The figures of runs by what was measured and how, each by its metric. What was measured of real samples alone,
    with no mode, stands in a column of its own."""
    ways: dict[Way, dict[str, Figure]] = {}
    for run in runs:
        for each in run.figures:
            ways.setdefault((run, each.mode, each.settings, each.data), {})[each.metric] = each
    return ways


def _titled(chapter: Chapter, ways: dict[Way, dict[str, Figure]]) -> list[Column]:
    """A title for each, with settings or data behind it where runs and modes do not tell them apart."""
    columns = []
    for run, mode, settings, data in ways:
        column = chapter.column(run, mode)
        if mode is None and run.kind == "generator":
            column = Column("Recordings" if len(chapter.generators) == 1 else f"{run.name}: recordings")
        twins = [way[2:] for way in ways if way[:2] == (run, mode)]
        same = [way for way in twins if way[0] == settings]
        more = ", ".join(
            text for text, needed in ((settings, len(same) < len(twins)), (data, len(same) > 1)) if needed and text
        )
        columns.append(Column(f"{column.title}, {more}" if more else column.title, column.key, "", column.colour))
    return columns


def _metric_names(ways: dict[Way, dict[str, Figure]]) -> list[str]:
    """Full names in the order of cards."""
    figures = {name: each for way in ways.values() for name, each in way.items()}
    order = list(METRICS)
    return sorted(figures, key=lambda name: (order.index(base_metric(name, figures[name].extractor)), name))


def metric_row(name: str, figures: Sequence[Figure | None]) -> dict[str, Any]:
    """A row of a table of metrics; the best figure of several is marked.

    Args:
        name: of the metric, in full.
        figures: a column each; None where it was not measured.
    """
    known = [each for each in figures if each is not None]
    better = METRICS[base_metric(name, known[0].extractor)]
    values = {each.value for each in known}
    best = {"higher": max, "lower": min}[better](values) if better != "neither" and len(values) > 1 else None
    cells = [
        {"text": "–", "best": False} if each is None else {"text": figure(each.value, name), "best": each.value == best}
        for each in figures
    ]
    return {"name": name, "cells": cells, "better": "" if better == "neither" else better}


def previews(chapter: Chapter) -> Section | None:
    """The last picture of each kind that training wrote; None where it wrote none."""
    cards = []
    for run in chapter.runs:
        for name, files in run.previews().items():
            step = int(files[-1].stem.rpartition("-")[2])
            column = chapter.column(run, name if name in run.modes else None)
            cards.append({"picture": file_picture(files[-1], f"{name} at step {step:,}"), "name": name, "step": step,
                          "run": run.name, "column": column})  # fmt: skip
    if not cards:
        return None
    return Section("previews", "While it was trained", fill("previews.html", cards=cards))


def file_picture(file: Any, alt: str) -> Picture:
    """A picture file, made smaller where it is large."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_PREVIEW, _PREVIEW))
    return Picture(data_uri(webp_bytes(image), "image/webp"), alt, image.width, image.height)


def sample_files(chapter: Chapter) -> Section | None:
    """For samples of a modality that shows them in no way of its own: what was written, and the pictures in it."""
    cards = []
    for run, folder, column in (*chapter.sample_columns(), *chapter.reconstruction_columns()):
        files = sorted(file for file in folder.path.iterdir() if file.is_file())
        pictures = [file_picture(file, f"{file.name} of {folder.path.name}") for file in files if file.suffix == ".png"]
        listed = [{"name": file.name, "bytes": file.stat().st_size} for file in files]
        cards.append({"run": run.name, "folder": folder.path.name, "column": column, "files": listed,
                      "pictures": pictures[:4], "command": folder.command})  # fmt: skip
    return Section("samples", "Samples", fill("files.html", cards=cards)) if cards else None

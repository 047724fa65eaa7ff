"""Sections that a page has for runs of any modality: curves, masks, tables of figures, previews, files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.media.mask_picture import mask_image
from mmgen.page.chapter import Card, Chapter, Column
from mmgen.page.chart import Curve, draw_charts
from mmgen.page.page import Picture, Section, parts
from mmgen.page.runs import Run
from mmgen.page.tiles import picture
from mmgen.page.wording import figure, join_words
from mmgen.store.results import Figure

_MASK_SCALE = 1.5  # pixels a point of a mask's card
_PREVIEW = 900  # pixels that a side of a preview has at most


def training(chapter: Chapter) -> Section | None:
    """The curves of the runs; None where nothing was logged."""
    generators = chapter.generators
    # Generators of the same single mode are compared in one chart; the modes of one generator as well.
    is_comparison = len(generators) > 1 and len({tuple(run.modes) for run in generators}) == 1 == len(
        generators[0].modes
    )
    groups = [generators] if is_comparison else [[run] for run in generators]
    curves = [_generator_curve(chapter, runs) for runs in groups] + [
        _tokenizer_curve(run) for run in chapter.tokenizers
    ]
    lead = parts.paragraph("Lines are training batches, smoothed; dots are the held-out set.")
    charts = draw_charts(curves)
    return Section("training", "Training", [lead, *charts]) if charts else None


def _generator_curve(chapter: Chapter, runs: Sequence[Run]) -> Curve:
    curve = Curve(f"{join_words([run.name for run in runs])}: loss a token")
    for run in runs:
        for mode in run.modes:
            name = run.name if len(runs) > 1 else mode
            curve.lines[name], curve.points[name] = run.logged(f"train/{mode}"), run.logged(f"val/{mode}")
            curve.colours[name] = chapter.column(run, mode).colour
    return curve


def _tokenizer_curve(run: Run) -> Curve:
    if psnr := run.logged("val/psnr_db"):
        return Curve(f"{run.name}: PSNR in dB", {}, {"held out": psnr})
    lines, points = {"training": run.logged("train/loss")}, {"held out": run.logged("val/loss")}
    return Curve(f"{run.name}: loss", lines, points, {"training": "blue"})


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
            names = [name for whole in layers if len(names := re.split(r" [&|] ", whole.name)) > 1 for name in names]
            for mask in [*layers, *map(get_mask, names)]:
                columns = used.setdefault(mask.name, (mask, []))[1]
                if (column := chapter.column(run, mode)) not in columns:
                    columns.append(column)
    if not used:
        return None
    lead = parts.paragraph(
        "Who may see whom, in training and in sampling alike. A row is a query, a column a key; a coloured cell is a"
        " pair that may meet."
    )
    cards = [(_mask_card(mask, layout and layout(mask)), columns) for mask, columns in used.values()]
    others = [_mask_card(get_mask(name)) for name in CATALOGUE if name not in used]
    return Section("masks", "Masks", [lead, parts.mask_cards(cards, others)])


def _mask_card(mask: Mask, layout: Layout | None = None) -> Picture:
    card = mask_image(mask, *(example(mask.name) if layout is None else (layout, layout)), scale=_MASK_SCALE)
    return picture(card, f"Mask {mask.name}. {mask.sentence}", _MASK_SCALE)


def metrics(chapter: Chapter) -> Section | None:
    """All figures, side by side: a column for each run, mode and way of measuring; None where nothing was measured."""
    tables: list[Markup] = []
    kinds = {"Generators": chapter.generators, "Tokenizers": chapter.tokenizers}
    measured = {title: runs for title, runs in kinds.items() if any(run.figures for run in runs)}
    for title, runs in measured.items():
        ways = measured_ways(runs)
        rows = [metric_row(name, [way.get(name) for way in ways.values()]) for name in _metric_names(ways)]
        counts = sorted({each.samples for way in ways.values() for each in way.values()})
        if len(measured) > 1:
            tables.append(parts.heading(title, "table"))
        tables.append(parts.metric_table(f"Figures: {title}", _column_titles(chapter, ways), rows))
        tables.append(parts.paragraph(f"Measured over {', '.join(f'{count:,}' for count in counts)} samples.", "note"))
    if not tables:
        return None
    figures = [each for run in chapter.runs for each in run.figures]
    accuracies = extractor_accuracies(figures)
    lead = "All figures of these runs, as they were recorded."
    if any(each.extractor for each in figures):
        lead = "The end of a figure's name is the network that looked at the samples, or listened to them." + "".join(
            f" `{name}` was trained on real samples alone and is right about {figure(accuracy, 'accuracy')} of the"
            " held-out ones."
            for name, accuracy in accuracies.items()
        )
    commands = parts.commands(list(dict.fromkeys(each.command for each in figures)))
    return Section("metrics", "Metrics", [parts.paragraph(lead), *tables, commands])


def extractor_accuracies(figures: Sequence[Figure]) -> dict[str, float]:
    """Of the networks that figures depend on, where they say it."""
    accuracies = {each.extractor: (each.protocol or {}).get("extractor_accuracy") for each in figures}
    return {name: accuracy for name, accuracy in accuracies.items() if name and accuracy is not None}


MeasuredWay = tuple[Run, str | None, str | None, str]
"""What has a column of figures: run, mode, settings and data."""


def measured_ways(runs: Sequence[Run]) -> dict[MeasuredWay, dict[str, Figure]]:
    """The figures of runs by what was measured and how, each by its metric. What was measured of real samples alone,
    with no mode, stands in a column of its own."""
    ways: dict[MeasuredWay, dict[str, Figure]] = {}
    for run in runs:
        for each in run.figures:
            ways.setdefault((run, each.mode, each.settings, each.data), {})[each.metric] = each
    return ways


def _column_titles(chapter: Chapter, ways: dict[MeasuredWay, dict[str, Figure]]) -> list[Column]:
    """A column for each, with settings or data behind its title where runs and modes do not tell them apart."""
    columns = []
    for run, mode, settings, data in ways:
        column = chapter.column(run, mode)
        if mode is None and run.kind == "generator":
            column = Column("Recordings" if len(chapter.generators) == 1 else f"{run.name}: recordings")
        twins = [way[2:] for way in ways if way[:2] == (run, mode)]
        same = [way for way in twins if way[0] == settings]
        details = [settings if len(same) < len(twins) else None, data if len(same) > 1 else None]
        title = ", ".join(text for text in (column.title, *details) if text)
        columns.append(Column(title, column.key, "", column.colour))
    return columns


def _metric_names(ways: dict[MeasuredWay, dict[str, Figure]]) -> list[str]:
    """Full names in the order of cards."""
    figures = {name: each for way in ways.values() for name, each in way.items()}
    return sorted(figures, key=lambda name: figures[name].order)


def metric_row(name: str, figures: Sequence[Figure | None]) -> dict[str, Any]:
    """A row of a table of metrics, by the full name of its metric: a cell for each figure, None where it was not
    measured; the best of several is marked.
    """
    known = [each for each in figures if each is not None]
    better = known[0].direction
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
            step = f"step {int(files[-1].stem.rpartition('-')[2]):,}"
            colour = chapter.column(run, name if name in run.modes else None).colour
            image = parts.image(file_picture(files[-1], f"{name} at {step}"))
            cards.append(Card(Column(f"{run.name}: {name}, {step}", colour=colour), image))
    lead = parts.paragraph("The last pictures that training wrote.")
    body = [lead, parts.gallery(cards, "columns previews")]
    return Section("previews", "While it was trained", body) if cards else None


def file_picture(file: Path, alt: str) -> Picture:
    """A picture file, made smaller where it is large."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_PREVIEW, _PREVIEW))
    return picture(image, alt)


def sample_files(chapter: Chapter) -> Section | None:
    """For samples of a modality that has no sections of its own: the files, and the pictures among them."""
    body: list[Markup] = []
    for run, folder, _ in (*chapter.samples(), *chapter.reconstructions()):
        files = sorted(file for file in folder.path.iterdir() if file.is_file())
        name = folder.path.name
        pictures = [file_picture(file, f"{file.name} of {name}") for file in files if file.suffix == ".png"][:4]
        body += [
            parts.heading(f"{run.name}: {name}", "table"), *(parts.still(each, "", each.alt) for each in pictures),
            parts.file_table([(file.name, file.stat().st_size) for file in files]), parts.command(folder.command),
        ]  # fmt: skip
    return Section("samples", "Samples", body) if body else None

"""Sections that a page has for runs of any modality: curves, masks, tables of figures, previews, files."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.media.image_file import open_image
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
    lead, charts = "Lines are training batches, smoothed; dots are the held-out set.", draw_charts(curves)
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
    """The masks that the modes train and sample under, each part of a composed one too, drawn on a layout, by default
    the example of each; and the rest of the catalogue.
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
    lead = (
        "Who may see whom, in training and in sampling alike. A row is a query, a column a key; a coloured cell is a"
        " pair that may meet."
    )
    cards = [(_mask_card(mask, layout and layout(mask)), columns) for mask, columns in used.values()]
    others = parts.mask_cards([(_mask_card(get_mask(name)), []) for name in CATALOGUE if name not in used], "small")
    others = parts.details("The rest of the catalogue", others)
    return Section("masks", "Masks", [lead, parts.mask_cards(cards), others])


def _mask_card(mask: Mask, layout: Layout | None = None) -> Picture:
    card = mask_image(mask, *(example(mask.name) if layout is None else (layout, layout)), scale=_MASK_SCALE)
    return picture(card, f"Mask {mask.name}. {mask.sentence}", _MASK_SCALE)


def metrics(chapter: Chapter) -> Section | None:
    """All figures, side by side: a column for each run, mode and way of measuring; None where nothing was measured."""
    figures = [each for run in chapter.runs for each in run.figures]
    if not figures:
        return None
    lead = "All figures of these runs, as they were recorded."
    if any(each.extractor for each in figures):
        lead = "The end of a figure's name is the network that looked at the samples, or listened to them."
    for name, accuracy in extractor_accuracies(figures).items():
        lead += f" `{name}` was trained on real samples alone and is right about {figure(accuracy, 'accuracy')} of the"
        lead += " held-out ones."
    body: list[Markup | str] = [lead]
    kinds = {"Generators": chapter.generators, "Tokenizers": chapter.tokenizers}
    measured = {title: runs for title, runs in kinds.items() if any(run.figures for run in runs)}
    for title, runs in measured.items():
        body += [parts.heading(title, "table")] if len(measured) > 1 else []
        counts = sorted({each.samples for run in runs for each in run.figures})
        note = f"Measured over {', '.join(f'{count:,}' for count in counts)} samples."
        body += [_metric_table(chapter, title, runs), parts.paragraph(note, "note")]
    return Section("metrics", "Metrics", [*body, parts.commands(figures)])


def extractor_accuracies(figures: Sequence[Figure]) -> dict[str, float]:
    """Of the networks that figures depend on, where they say it."""
    accuracies = {each.extractor: (each.protocol or {}).get("extractor_accuracy") for each in figures}
    return {name: accuracy for name, accuracy in accuracies.items() if name and accuracy is not None}


def _metric_table(chapter: Chapter, title: str, runs: Sequence[Run]) -> Markup:
    """A column for each run, mode, settings and data, each with a title that tells it from the others; a row for each
    metric, in the order of cards.
    """
    ways: dict[tuple[Run, str | None, str | None, str], dict[str, Figure]] = {}
    for run in runs:
        for each in run.figures:
            ways.setdefault((run, each.mode, each.settings, each.data), {})[each.metric] = each
    columns = []
    for run, mode, settings, data in ways:
        column = chapter.column(run, mode)
        if mode is None and run.kind == "generator":
            column = Column("Recordings" if len(chapter.generators) == 1 else f"{run.name}: recordings")
        twins = [way[2:] for way in ways if way[:2] == (run, mode)]
        same = [way for way in twins if way[0] == settings]
        details = [settings if len(same) < len(twins) else None, data if len(same) > 1 else None]
        columns.append(replace(column, title=", ".join(text for text in (column.title, *details) if text)))
    figures = {name: each for way in ways.values() for name, each in way.items()}
    names = sorted(figures, key=lambda name: figures[name].order)
    rows = [metric_row(name, [way.get(name) for way in ways.values()]) for name in names]
    table: Markup = parts.table(f"Figures: {title}", ["metric", *columns, "better is"], rows)
    return table


def metric_row(name: str, figures: Sequence[Figure | None]) -> tuple[str, list[tuple[str, str]]]:
    """A row of a table of metrics: its full name; and the text and class of each cell, one for each figure, None where
    it was not measured, and one for which way is better.
    """
    values = {each.value: each for each in figures if each is not None}
    better = next(iter(values.values())).direction
    best = {"higher": max, "lower": min}[better](values) if better != "neither" and len(values) > 1 else None
    cells = [
        ("–", "") if each is None else (figure(each.value, name), "best" if each.value == best else "")
        for each in figures
    ]
    return name, [*cells, ("" if better == "neither" else better, "better")]


def previews(chapter: Chapter) -> Section | None:
    """The last picture of each kind that training wrote; None where it wrote none."""
    cards = []
    for run in chapter.runs:
        for name, file in run.previews().items():
            step = f"step {int(file.stem[-7:]):,}"
            column = Column(f"{run.name}: {name}, {step}", colour=chapter.column(run, name).colour)
            cards.append(Card(column, parts.image(file_picture(file, f"{name} at {step}"))))
    body = ["The last pictures that training wrote.", parts.gallery(cards, "columns previews")]
    return Section("previews", "While it was trained", body) if cards else None


def file_picture(file: Path, alt: str) -> Picture:
    """A picture file, made smaller where it is large."""
    image = open_image(file, 3)
    image.thumbnail((_PREVIEW, _PREVIEW))
    return picture(image, alt)


def sample_files(chapter: Chapter) -> Section | None:
    """For samples of a modality that has no sections of its own: the files, and the pictures among them."""
    body: list[Markup] = []
    for run, folder, _ in (*chapter.samples(lambda record: True), *chapter.reconstructions()):
        files, name = sorted(file for file in folder.path.iterdir() if file.is_file()), folder.path.name
        pictures = [file_picture(file, f"{file.name} of {name}") for file in files if file.suffix == ".png"][:4]
        rows = [(file.name, [(f"{file.stat().st_size:,}", "")]) for file in files]
        table = parts.table(f"Files of {name}", ["file", "bytes"], rows)
        body += [parts.heading(f"{run.name}: {name}", "table"), *(parts.still(each, "") for each in pictures)]
        body += [parts.details(f"{len(files)} files", table), parts.command(folder.command)]
    return Section("samples", "Samples", body) if body else None

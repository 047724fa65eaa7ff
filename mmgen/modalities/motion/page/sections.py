"""The sections of a page on motions, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mmgen.modalities.motion.drawing import motion_sheet
from mmgen.modalities.motion.evaluation.inbetween import with_straight_lines
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.page.skeletons import animate_skeleton, bones
from mmgen.page.chapter import Chapter, Column
from mmgen.page.film import Clock
from mmgen.page.page import Picture, Section, fill_from
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import Run, SampleFolder
from mmgen.page.tiles import picture, pixels
from mmgen.page.wording import describe_tokens, join_words

fill = partial(fill_from, Path(__file__).parent / "templates")
RECORDED, STRAIGHT = Column("Recorded"), Column("Straight lines")
_SECONDS_AT_REST = 0.8
_SLOWER = 2
"""Times that what is short is slowed down, so that it can be followed."""
_ACTIONS, _RECONSTRUCTED, _GAPS, _HERO = 16, 4, 3, 3
"""Rows of a section, motions with a gap, and motions beside the first sentences, at most."""

Cell = tuple[Column, Tensor, tuple[int, int] | None]
"""What moves in a row: its column, joints (T, J, 3) in metres, and the frames that a generator made; None for all."""


def actions(chapter: Chapter) -> Section | None:
    """Each action or text in every mode, beside a recording where there is one."""
    matches = chapter.sample_columns(lambda folder: not folder.record.get("inpaint"))
    rows = _rows(matches, _ACTIONS)
    if not rows:
        return None
    for name, row in _rows(chapter.reconstruction_columns(), _ACTIONS * 2).items():  # which have recordings
        if name in rows and row[0][0] is RECORDED and rows[name][0][0] is not RECORDED:
            rows[name].insert(0, row[0])
    body = fill(
        "actions.html", columns=[column for *_, column in matches], lines=[folder.command for _, folder, _ in matches],
        **_moving(rows, _fps(matches)),
    )  # fmt: skip
    return Section("actions", "Actions", body)


def reconstruction(chapter: Chapter) -> Section | None:
    """Real motions beside what tokenizers make of them."""
    matches = chapter.reconstruction_columns()
    rows = _rows(matches, _RECONSTRUCTED)
    if not rows:
        return None
    errors = {run: each for run, *_ in matches for each in run.figures if each.metric == "mpjpe_mm"}
    coders = [
        {"column": column, "tokens": describe_tokens(run.spec), "error": errors.get(run)} for run, _, column in matches
    ]
    body = fill(
        "reconstruction.html", coders=coders, slower=_SLOWER, lines=[folder.command for _, folder, _ in matches],
        **_moving(rows, _fps(matches), _SLOWER),
    )  # fmt: skip
    return Section("tokenizers", "Real and reconstructed", body)


def inbetweening(chapter: Chapter) -> Section | None:
    """Motions whose middle was made anew, a part for each source; None where there are none."""
    parts: dict[str, list[tuple[Run, SampleFolder, Column]]] = {}
    for run, folder, _ in chapter.sample_columns(lambda folder: bool(folder.record.get("inpaint"))):
        if folder.files(".npy") and all(folder.recordings(".npy")):
            parts.setdefault(str(folder.record["inpaint"]), []).append((run, folder, chapter.column(run, folder.mode)))
    if not parts:
        return None
    entries = [_part(source, matches) for source, matches in parts.items()]
    lines = [folder.command for matches in parts.values() for _, folder, _ in matches]
    return Section("between", "In between", fill("inbetweening.html", parts=entries, slower=_SLOWER, lines=lines))


def _part(source: str, matches: list[tuple[Run, SampleFolder, Column]]) -> dict[str, Any]:
    first = matches[0][1]
    names, gaps, fps = first.names("texts", "classes"), first.record["gaps"], _fps(matches)
    real = [read_motion(file, fps) for file in first.recordings(".npy") if file is not None]
    longest = sorted(range(len(real)), key=lambda place: -len(real[place]))
    chosen = list({names[place]: place for place in reversed(longest)}.values())[::-1][:_GAPS]
    rows: dict[str, list[Cell]] = {}
    for place in chosen:
        gap = (int(gaps[place][0]), int(gaps[place][1]))
        cells: list[Cell] = [(RECORDED, real[place], gap)]
        cells += [(column, read_motion(folder.files(".npy")[place], fps), gap) for _, folder, column in matches]
        rows[names[place]] = [*cells, (STRAIGHT, with_straight_lines(real[place], *gap), gap)]
    seconds = sum(stop - start for start, stop in gaps) / len(gaps) / fps
    return {
        "source": source.replace("_", "-"), "seconds": f"{seconds:.1f}", "samples": f"{len(gaps):,}",
        "errors": [{"column": column, "mm": f"{folder.record['inbetween_mm']:.0f}"} for _, folder, column in matches],
        "straight": f"{first.record['inbetween_linear_mm']:.0f}", **_moving(rows, fps, _SLOWER),
    }  # fmt: skip


def _rows(matches: Sequence[tuple[Run, SampleFolder, Column]], most: int) -> dict[str, list[Cell]]:
    """Name -> the first motion of that name in each folder, the recording before them; of the first `most` names."""
    rows: dict[str, list[Cell]] = {}
    for _, folder, column in matches:
        fps, recordings = float(folder.record.get("fps", 20.0)), folder.recordings(".npy")
        for name, file, real in zip(folder.names("texts", "classes"), folder.files(".npy"), recordings):
            if name not in rows and len(rows) == most:
                continue
            row = rows.setdefault(name, [])
            if real is not None and not any(each is RECORDED for each, *_ in row):
                row.insert(0, (RECORDED, read_motion(real, fps), None))
            if column not in [each for each, *_ in row]:
                row.append((column, read_motion(file, fps), None))
    return rows


def _moving(rows: dict[str, list[Cell]], fps: float, slower: int = 1) -> dict[str, Any]:
    """What the template of rows of skeletons takes."""
    motions = [motion for row in rows.values() for _, motion, _ in row]
    clock = Clock("frame", 1, max(2, *map(len, motions)), round(slower / fps, 4), _SECONDS_AT_REST, "Frame")
    drawn = [
        {"label": name.replace("_", " "), "cells": [_cell(name, each, fps) for each in row]}
        for name, row in rows.items()
    ]
    return {"rows": drawn, "clock": clock, "bones": bones(motions[0].shape[1])}


def _cell(name: str, cell: Cell, fps: float) -> dict[str, Any]:
    column, motion, made = cell
    seconds = f"{len(motion) / fps:.1f} s"
    body = animate_skeleton(motion, fps, f"{column.title}: {name.replace('_', ' ')}, {seconds}.", made)
    return {"column": column, "seconds": seconds, "body": body}


def _fps(matches: Sequence[tuple[Run, SampleFolder, Column]]) -> float:
    return float(matches[0][1].record.get("fps", 20.0))


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few of the longest motions of the last folder, pose after pose."""
    matches = [*chapter.reconstruction_columns(), *chapter.sample_columns(lambda each: not each.record.get("inpaint"))]
    if not matches or not matches[-1][1].files(".npy"):
        return None
    _, folder, column = matches[-1]
    fps, names = _fps(matches), [name.replace("_", " ") for name in folder.names("texts", "classes")]
    motions = [read_motion(file, fps) for file in folder.files(".npy")[:20]]
    chosen = sorted(range(len(motions)), key=lambda place: len(motions[place]))[-_HERO:]
    drawn = motion_sheet(
        [motions[place] for place in chosen], [names[place] for place in chosen], poses=6, size=(150, 96), fps=fps
    )
    alt = f"{column.title}, from left to right pose after pose: {join_words([names[place] for place in chosen])}."
    return picture(pixels(drawn), alt)


PARTS = PageParts(
    sections=(actions, reconstruction, inbetweening),
    opening_picture=opening_picture,
    headlines=(
        Headline("label_accuracy", "of motions show the action that was asked for ({way})"),
        Headline("label_accuracy_real", "of real held-out motions are named rightly by the same judge"),
        Headline(
            "mpjpe_mm", "from held-out joints to their reconstructions, at best ({way})",
            write=lambda value: f"{value:.0f} mm",
        ),
        Headline("fid", "FID at best ({way}), on features of these data"),
    ),
    plural="motions",
)  # fmt: skip

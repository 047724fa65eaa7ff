"""The sections of a page on motions, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Sequence

from markupsafe import Markup
from torch import Tensor

from mmgen.modalities.motion.drawing import motion_sheet
from mmgen.modalities.motion.evaluation.inbetween import with_straight_lines
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.page.skeletons import animate_skeleton, bones, templates
from mmgen.page.chapter import Card, Chapter, Column, Sample, Way, side_by_side
from mmgen.page.page import Picture, Section, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.tiles import Clock, picture, pixels
from mmgen.page.wording import describe_tokens, join_words

RECORDED, STRAIGHT = Column("Recorded"), Column("Straight lines")
_SECONDS_AT_REST = 0.8
_SLOWER = 2
"""Times that what is short is slowed down, so that it can be followed."""
_ACTIONS, _RECONSTRUCTED, _GAPS, _OPENING = 16, 4, 3, 3
"""Rows of a section, motions with a gap, and motions beside the first sentences, at most."""

Cell = tuple[Column, Tensor, tuple[int, int] | None]
"""A motion of a row: its column, joints (T, J, 3) in metres, and the frames that a generator made; None for all."""


def actions(chapter: Chapter) -> Section | None:
    """Each action or text in every mode, beside a recording where there is one."""
    ways = chapter.samples(lambda record: not record.get("inpaint"))
    rows, recorded = _rows(ways), _rows(chapter.reconstructions())
    if not rows:
        return None
    for name, row in rows.items():
        first = recorded.get(name, row)[0]
        if first.column is RECORDED and row[0].column is not RECORDED:
            row.insert(0, first)
    people = _people(_read_rows(rows, _ACTIONS, _fps(ways)), _fps(ways))
    lead = (
        "Each action as each mode moves when it is told the action, beside a recording where there is one. A fresh draw"
        " each; nothing was picked."
    )
    note = (
        "Left limbs are blue, right ones orange; lines on the floor are half a metre apart. Drag a person to look from"
        " another side."
    )
    body = [
        parts.paragraph(lead), parts.remarks([(way.column, way.column.how) for way in ways]),
        parts.paragraph(note, "note"), people, parts.commands([way.folder.command for way in ways]),
    ]  # fmt: skip
    return Section("actions", "Actions", body)


def reconstruction(chapter: Chapter) -> Section | None:
    """Real motions beside what tokenizers make of them."""
    ways = chapter.reconstructions()
    rows = _rows(ways)
    if not rows:
        return None
    people = _people(_read_rows(rows, _RECONSTRUCTED, _fps(ways)), _fps(ways), _SLOWER)
    lead = "Real motions, and what tokens leave of them."
    for run, _, column in ways:
        lead += f" {column.title}: {describe_tokens(run.spec)}"
        if error := next((each for each in run.figures if each.metric == "mpjpe_mm"), None):
            lead += f"; joints are **{error.value:.0f} mm** off over {error.samples:,} held-out motions"
        lead += "."
    note = f"Shown {_SLOWER} times as slow as recorded."
    body = [
        parts.paragraph(lead), parts.paragraph(note, "note"), people,
        parts.commands([way.folder.command for way in ways]),
    ]  # fmt: skip
    return Section("tokenizers", "Real and reconstructed", body)


def inbetweening(chapter: Chapter) -> Section | None:
    """Motions whose middle was made anew, a part for each source; None where there are none."""
    sources: dict[str, list[Way]] = {}
    for way in chapter.samples(lambda record: bool(record.get("inpaint"))):
        if way.folder.files(".npy") and all(way.folder.recordings(".npy")):
            way = way._replace(column=chapter.column(way.run, way.folder.mode))
            sources.setdefault(str(way.folder.record["inpaint"]), []).append(way)
    if not sources:
        return None
    lead = (
        "The middle third of a motion is taken away and made anew by a mode that sees both of its sides. Beside it"
        " stands the simplest guess: every joint on a straight line from the last pose before the gap to the first one"
        " behind it."
    )
    note = (
        "What was given is pale; where a mode filled the gap, it went through tokens as well. Shown"
        f" {_SLOWER} times as slow as recorded."
    )
    blocks = [block for source, ways in sources.items() for block in _filled_gaps(source, ways)]
    commands = parts.commands([way.folder.command for ways in sources.values() for way in ways])
    return Section("between", "In between", [parts.paragraph(lead), parts.paragraph(note, "note"), *blocks, commands])


def _filled_gaps(source: str, ways: list[Way]) -> list[Markup]:
    """The longest motions of one source, each of another name."""
    first = ways[0].folder
    names, gaps, fps = first.names("texts", "classes"), first.record["gaps"], _fps(ways)
    real = [read_motion(file, fps) for file in first.recordings(".npy") if file is not None]
    chosen: dict[str, int] = {}
    for place in sorted(range(len(real)), key=lambda place: -len(real[place])):
        chosen.setdefault(names[place], place)
    rows: dict[str, list[Cell]] = {}
    for name, place in list(chosen.items())[:_GAPS]:
        gap = (int(gaps[place][0]), int(gaps[place][1]))
        filled = [(way.column, read_motion(way.folder.files(".npy")[place], fps), gap) for way in ways]
        straight = with_straight_lines(real[place], *gap)
        rows[name] = [(RECORDED, real[place], gap), *filled, (STRAIGHT, straight, gap)]
    seconds = sum(stop - start for start, stop in gaps) / len(gaps) / fps
    title = f"{source.replace('_', '-').capitalize()}: gaps of {seconds:.1f} s on average"
    errors = "".join(f"**{way.folder.record['inbetween_mm']:.0f} mm** ({way.column.title.lower()}), " for way in ways)
    text = f"Within the gaps of {len(gaps):,} motions, joints are off by {errors}and by"
    text += f" **{first.record['inbetween_linear_mm']:.0f} mm** on straight lines."
    return [parts.heading(title, "gaps"), parts.paragraph(text, "how"), _people(rows, fps, _SLOWER)]


def _rows(ways: Sequence[Way]) -> dict[str, list[Sample]]:
    """Name -> a motion of that name of each folder, its recording before them."""
    return side_by_side(ways, ".npy", lambda folder: folder.names("texts", "classes"), RECORDED)


def _read_rows(rows: dict[str, list[Sample]], most: int, fps: float) -> dict[str, list[Cell]]:
    """The motions of the first `most` rows."""
    first = list(rows.items())[:most]
    return {name: [(each.column, read_motion(each.file, fps), None) for each in row] for name, row in first}


def _people(rows: dict[str, list[Cell]], fps: float, slower: int = 1) -> Markup:
    """Rows of skeletons on one clock."""
    motions = [motion for row in rows.values() for _, motion, _ in row]
    clock = Clock("frame", 1, max(2, *map(len, motions)), round(slower / fps, 4), _SECONDS_AT_REST)
    cards = {
        label: [_card(label, *cell, fps) for cell in row]
        for label, row in ((name.replace("_", " "), row) for name, row in rows.items())
    }
    people: Markup = templates.people(cards, clock, bones(motions[0].shape[1]))
    return people


def _card(label: str, column: Column, motion: Tensor, made: tuple[int, int] | None, fps: float) -> Card:
    seconds = f"{len(motion) / fps:.1f} s"
    return Card(column, animate_skeleton(motion, fps, f"{column.title}: {label}, {seconds}.", made), seconds)


def _fps(ways: Sequence[Way]) -> float:
    return float(ways[0].folder.record.get("fps", 20.0))


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few of the longest motions of the last folder, pose after pose."""
    ways = [*chapter.reconstructions(), *chapter.samples(lambda record: not record.get("inpaint"))]
    if not ways or not ways[-1].folder.files(".npy"):
        return None
    _, folder, column = ways[-1]
    fps, names = _fps(ways), [name.replace("_", " ") for name in folder.names("texts", "classes")]
    motions = [(read_motion(file, fps), name) for file, name in zip(folder.files(".npy")[:20], names)]
    chosen = sorted(motions, key=lambda pair: len(pair[0]))[-_OPENING:]
    titles = [name for _, name in chosen]
    drawn = motion_sheet([motion for motion, _ in chosen], titles, poses=6, size=(150, 96), fps=fps)
    return picture(pixels(drawn), f"{column.title}, from left to right pose after pose: {join_words(titles)}.")


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

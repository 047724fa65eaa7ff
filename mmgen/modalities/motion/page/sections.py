"""The sections of a page on motions, a function each: a new section is one function more, in `PARTS`."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from markupsafe import Markup
from torch import Tensor

from mmgen.modalities.motion.drawing import motion_sheet, motion_strip
from mmgen.modalities.motion.evaluation.inbetween import with_straight_lines
from mmgen.modalities.motion.features import canonical
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.kinematics import smoothed
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of
from mmgen.page.chapter import Card, Chapter, Column, Sample, Way, side_by_side
from mmgen.page.page import Picture, Section, macros, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.tiles import Clock, picture, pixels
from mmgen.page.wording import describe_tokens, join_words

RECORDED, STRAIGHT = Column("Recorded"), Column("Straight lines")
_SLOWER = 2  # times that what is short is slowed down, so that it can be followed
_ACTIONS, _RECONSTRUCTED, _GAPS, _OPENING = 16, 4, 3, 3  # motions of a section and beside the first sentences, at most
_POSES, _SIZE = 3, (150, 100)  # of the picture below a moving skeleton, and (H, W) of each pose
_LAG = 5.0  # frames: how softly the view follows the root
_FARTHEST = 32_767  # millimetres that two bytes hold
templates = macros(Path(__file__).parent / "templates" / "motion.html")

Cell = tuple[Column, Tensor, tuple[int, int] | None]  # column, joints (T, J, 3) in metres, frames that were made


def actions(chapter: Chapter) -> Section | None:
    """Each action or text in every mode, beside a recording where there is one."""
    ways = chapter.samples()
    rows, recorded = _rows(ways), _rows(chapter.reconstructions())
    if not rows:
        return None
    for name, row in rows.items():
        first = recorded.get(name, row)[0]
        if first.column is RECORDED and row[0].column is not RECORDED:
            row.insert(0, first)
    lead = "Each action in every mode, beside a recording where there is one. A fresh draw each; nothing was picked."
    note = "Left limbs are blue, right ones orange; floor lines are half a metre apart. Drag a person to turn them all."
    remarks = parts.remarks([(way.column, way.column.how) for way in ways])
    body = [lead, remarks, parts.paragraph(note, "note"), _people(ways, rows, _ACTIONS), parts.commands(ways)]
    return Section("actions", "Actions", body)


def reconstruction(chapter: Chapter) -> Section | None:
    """Real motions beside what tokenizers make of them."""
    ways = chapter.reconstructions()
    rows = _rows(ways)
    if not rows:
        return None
    lead = "Real motions, and what tokens leave of them."
    for run, _, column in ways:
        lead += f" {column.title}: {describe_tokens(run.spec)}"
        if error := next((each for each in run.figures if each.metric == "mpjpe_mm"), None):
            lead += f"; joints are **{error.value:.0f} mm** off over {error.samples:,} held-out motions"
        lead += "."
    note = parts.paragraph(f"Shown {_SLOWER} times as slow as recorded.", "note")
    body = [lead, note, _people(ways, rows, _RECONSTRUCTED, _SLOWER), parts.commands(ways)]
    return Section("tokenizers", "Real and reconstructed", body)


def inbetweening(chapter: Chapter) -> Section | None:
    """Motions whose middle was made anew, a part for each source; None where there are none."""
    sources: dict[str, list[Way]] = {}
    for way in chapter.inpaintings():
        if way.folder.files(".npy") and all(way.folder.recordings(".npy")):
            sources.setdefault(str(way.folder.record["inpaint"]), []).append(way)
    if not sources:
        return None
    lead = "The middle third of a motion is taken away and made anew by a mode that sees both of its sides. Beside it"
    lead += (
        " stands the simplest guess: every joint goes on a straight line from the last pose before to the first after."
    )
    note = "What was given is pale; where a mode filled the gap, it went through tokens as well. Shown"
    note += f" {_SLOWER} times as slow as recorded."
    blocks = [block for source, ways in sources.items() for block in _filled_gaps(source, ways)]
    commands = parts.commands([way for ways in sources.values() for way in ways])
    return Section("between", "In between", [lead, parts.paragraph(note, "note"), *blocks, commands])


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
    return [parts.heading(title, "gaps"), parts.paragraph(text, "how"), _draw_people(rows, fps, _SLOWER)]


def _rows(ways: Sequence[Way]) -> dict[str, list[Sample]]:
    """Name -> a motion of that name of each folder, its recording before them."""
    return side_by_side(ways, ".npy", lambda folder: folder.names("texts", "classes"), RECORDED)


def _people(ways: Sequence[Way], rows: dict[str, list[Sample]], most: int, slower: int = 1) -> Markup:
    """The first `most` rows."""
    fps, first = _fps(ways), list(rows.items())[:most]
    cells: dict[str, list[Cell]] = {
        name: [(each.column, read_motion(each.file, fps), None) for each in row] for name, row in first
    }
    return _draw_people(cells, fps, slower)


def _draw_people(rows: dict[str, list[Cell]], fps: float, slower: int) -> Markup:
    """Rows of skeletons on one clock."""
    motions = [motion for row in rows.values() for _, motion, _ in row]
    clock = Clock("frame", 1, max(2, *map(len, motions)), round(slower / fps, 4), rest=0.8)
    cards: dict[str, list[Card]] = {name.replace("_", " "): [] for name in rows}
    for (label, row), cells in zip(cards.items(), rows.values()):
        for column, motion, made in cells:
            seconds = f"{len(motion) / fps:.1f} s"
            person = _animate(motion, fps, f"{column.title}: {label}, {seconds}.", made)
            row.append(Card(column, person, seconds))
    people: Markup = templates.people(cards, clock, _bones(motions[0].shape[1]))
    return people


def _fps(ways: Sequence[Way]) -> float:
    return float(ways[0].folder.record.get("fps", 20.0))


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few of the longest motions of the last folder, pose after pose."""
    ways = [*chapter.reconstructions(), *chapter.samples()]
    if not ways or not ways[-1].folder.files(".npy"):
        return None
    _, folder, column = ways[-1]
    fps, names = _fps(ways), [name.replace("_", " ") for name in folder.names("texts", "classes")]
    motions = [(read_motion(file, fps), name) for file, name in zip(folder.files(".npy")[:20], names)]
    chosen = sorted(motions, key=lambda pair: len(pair[0]))[-_OPENING:]
    titles = [name for _, name in chosen]
    drawn = motion_sheet([motion for motion, _ in chosen], titles, poses=6, size=(150, 96), fps=fps)
    return picture(pixels(drawn), f"{column.title}, from left to right pose after pose: {join_words(titles)}.")


def _animate(joints: Tensor, fps: float, alt: str, made: tuple[int, int] | None = None) -> Markup:
    """A motion that the script of the page draws, turned so that it begins with its face to the front, over a picture
    of poses. The script gets its points, (T, J + 1, 3) little-endian int16 in millimetres, as base64; the last point of
    a frame is the middle of the view. Frames (start, stop) are `made` by a generator, and the others drawn pale.
    """
    posed = canonical(joints.detach().cpu().double())
    middle = smoothed(posed[:, :1].flatten(1), _LAG)[:, None]
    middle[..., 1] = posed[..., 1].max() / 2
    points = (torch.cat([posed, middle], 1) * 1000).round().clamp(-_FARTHEST, _FARTHEST).numpy().astype("<i2")
    still = picture(pixels(motion_strip(joints, _POSES, _SIZE, fps)), alt)
    places = base64.b64encode(points.tobytes()).decode("ascii")
    person: Markup = templates.person(still, places, points.shape[1], made or (0, len(points)))
    return person


def _bones(joints: int) -> str:
    """The bones of a skeleton of so many joints, as JSON: [joint, joint, side], the side one of `left`, `right` and
    `middle`; and the head, [neck, head], last.
    """
    skeleton = skeleton_of(joints)
    sides = [[parent, joint, _side(skeleton, joint)] for joint, parent in enumerate(skeleton.parents[1:], 1)]
    return json.dumps([*sides, list(skeleton.chains[2][-2:])])


def _side(skeleton: Skeleton, joint: int) -> str:
    """Hips and collars belong to the trunk, whose outline they are."""
    if any(joint in pair for pair in skeleton.pairs):
        limb = next(chain for chain in skeleton.chains if joint in chain)
        begins = next(place for place, each in enumerate(limb) if each in skeleton.across)
        if limb.index(joint) > begins:
            return "left" if any(joint == left for left, _ in skeleton.pairs) else "right"
    return "middle"


PARTS = PageParts(
    sections=(actions, reconstruction, inbetweening),
    opening_picture=opening_picture,
    headlines=(
        Headline("label_accuracy", "of motions show the action that was asked for ({way})"),
        Headline("label_accuracy_real", "of real held-out motions are named rightly by the same judge"),
        Headline("mpjpe_mm", "from held-out joints to their reconstructions, at best ({way})", form="{:.0f} mm"),
        Headline("fid", "FID at best ({way}), on features of these data"),
    ),
    plural="motions",
)

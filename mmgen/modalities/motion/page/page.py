"""The page of a run of motions, a function a section: a new section is one function more, in `SECTIONS`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmgen.modalities.motion.drawing import motion_sheet
from mmgen.modalities.motion.page.people import bones, person
from mmgen.modalities.motion.page.story import Between, MotionStory
from mmgen.page import sections
from mmgen.page.film import Clock
from mmgen.page.page import Page, Picture, Section, duration, figure, fill
from mmgen.page.sections import metric_row
from mmgen.page.tiles import picture, pixels
from mmgen.page.wording import described, listed, title

RECORDED = {"title": "Recorded", "colour": "grey"}
STRAIGHT = {"title": "Straight lines", "colour": "grey"}
SECONDS_AT_REST = 0.8
_SLOWER = 2
"""Times that what is short is slowed down, so that it can be followed."""
_HERO = 3  # motions beside the first sentences


def motion_page(story: MotionStory) -> Page:
    """The whole page."""
    figures = []
    if story.accuracy is not None:
        best = max(story.modes, key=lambda mode: mode.measured[story.accuracy or ""])
        told = f"of motions show the action that was asked for ({title(best.name).lower()})"
        figures.append((figure(best.measured[story.accuracy], story.accuracy), told))
        if story.accuracy in story.real:
            real = figure(story.real[story.accuracy], story.accuracy)
            figures.append((real, "of real held-out motions are named rightly by the same judge"))
    errors = {coder.name: coder.measured["mpjpe_mm"] for coder in story.coders}
    kept = min(errors, key=lambda name: errors[name])
    figures.append((f"{errors[kept]:.0f} mm", f"from held-out joints to what {kept} keep of them"))
    figures.append((duration(story.total_seconds), "from nothing to this page"))
    ways = listed([title(mode.name).lower() for mode in story.modes])
    lead = (
        "Tokenizers and transformers, trained from scratch on recorded motions of people. They are told an action, and"
        f" move: {ways}."
    )
    made_of = [section for make in SECTIONS if (section := make(story)) is not None]
    return Page("Set in motion", lead, hero(story), figures, story.facts, story.commands, made_of, "mmgen demo motion")


def actions(story: MotionStory) -> Section:
    """Each action as it was recorded, and in every mode."""
    rows = []
    for place, label in enumerate(story.labels):
        shown = [_shown(RECORDED, label, story.recorded[place], story.fps)]
        shown += [_shown(described(mode.name), label, mode.motions[place], story.fps) for mode in story.modes]
        rows.append({"label": spaced(label), "people": shown})
    every = [*story.recorded, *(motion for mode in story.modes for motion in mode.motions)]
    body = fill(
        "motion/actions.html", rows=rows, modes=[described(mode.name) for mode in story.modes], bones=_bones(story),
        clock=_clock(every, story.fps), commands=[line for mode in story.modes for line in mode.commands],
    )  # fmt: skip
    return Section("actions", "Actions", body)


def tokenizers(story: MotionStory) -> Section:
    """Held-out motions beside what the tokenizers keep of them."""
    rows = []
    for place, label in enumerate(story.held_labels):
        shown = [_shown(RECORDED, label, story.held_out[place], story.fps)]
        shown += [
            _shown(grey(coder.name.capitalize()), label, coder.motions[place], story.fps) for coder in story.coders
        ]
        rows.append({"label": spaced(label), "people": shown})
    names = list(dict.fromkeys(name for coder in story.coders for name in coder.measured))
    figures = [metric_row(name, [coder.measured.get(name) for coder in story.coders]) for name in names]
    coders = [
        grey(coder.name.capitalize())
        | {
            "tokens": coder.tokens,
            "samples": f"{coder.samples:,}",
            "mpjpe": f"{coder.measured['mpjpe_mm']:.0f}",
            "command": coder.command,
        }
        for coder in story.coders
    ]
    body = fill(
        "motion/tokenizers.html", rows=rows, bones=_bones(story), clock=_clock(story.held_out, story.fps, _SLOWER),
        coders=coders, figures=figures, slower=_SLOWER,
    )  # fmt: skip
    return Section("tokenizers", "Real and reconstructed", body)


def betweens(story: MotionStory) -> Section | None:
    """Gaps and what fills them; None where no mode can fill any."""
    if not story.betweens:
        return None
    body = fill(
        "motion/betweens.html", betweens=[_between(each, story.fps) for each in story.betweens],
        bones=_bones(story), slower=_SLOWER,
    )  # fmt: skip
    return Section("between", "In between", body)


def metrics(story: MotionStory) -> Section:
    """All figures of all modes, and those of real motions beside them."""
    names = list(dict.fromkeys(name for mode in story.modes for name in mode.measured))
    rows = []
    for name in names:
        row = metric_row(name, [mode.measured.get(name) for mode in story.modes])
        real = figure(story.real[name], name) if name in story.real else "–"
        rows.append(row | {"cells": [*row["cells"], {"text": real, "best": False}]})
    steps = metric_row("steps", [mode.steps for mode in story.modes])
    rows.append(steps | {"cells": [*steps["cells"], {"text": "–", "best": False}]})
    modes = [described(mode.name) | {"measure_command": mode.measure_command} for mode in story.modes]
    body = fill(
        "motion/metrics.html", modes=modes, columns=[*modes, grey("Real motions")], rows=rows,
        samples=f"{story.modes[0].samples:,}",
    )  # fmt: skip
    return Section("metrics", "Metrics", body)


def training(story: MotionStory) -> Section | None:
    """The curves of the runs."""
    return sections.training(story.curves)


def masks(story: MotionStory) -> Section | None:
    """The masks that modes train and sample under, and the rest."""
    return sections.masks(story.masks)


SECTIONS = [actions, tokenizers, betweens, metrics, training, masks]


def hero(story: MotionStory) -> Picture:
    """A few motions of the last mode, pose after pose."""
    mode = story.modes[-1]
    chosen = sorted(range(len(mode.motions)), key=lambda place: len(mode.motions[place]))[-_HERO:]
    names = [spaced(story.labels[place]) for place in chosen]
    drawn = motion_sheet([mode.motions[place] for place in chosen], names, poses=6, size=(150, 96), fps=story.fps)
    return picture(pixels(drawn), f"{title(mode.name)}, from left to right pose after pose: {listed(names)}.")


def grey(name: str) -> dict[str, Any]:
    """What is said of something that is no mode."""
    return {"title": name, "colour": "grey"}


def spaced(label: str) -> str:
    """`getup_facedown` in words."""
    return label.replace("_", " ")


def _between(each: Between, fps: float) -> dict[str, Any]:
    columns = [(RECORDED, each.real), *((described(mode), made) for mode, made in each.filled.items())]
    columns.append((STRAIGHT, each.straight))
    rows = [
        {
            "label": spaced(label),
            "people": [_shown(name, label, made[place], fps, each.gaps[place]) for name, made in columns],
        }
        for place, label in enumerate(each.labels)
    ]
    errors = [described(mode) | {"mm": f"{error:.0f}"} for mode, error in each.filled_mm.items()]
    return {
        "of": each.of, "rows": rows, "clock": _clock(each.real, fps, _SLOWER), "errors": errors,
        "straight": f"{each.straight_mm:.0f}", "samples": f"{each.samples:,}", "seconds": f"{each.seconds:.1f}",
    }  # fmt: skip


def _shown(
    name: dict[str, Any], label: str, motion: Tensor, fps: float, made: tuple[int, int] | None = None
) -> dict[str, Any]:
    seconds = f"{len(motion) / fps:.1f} s"
    return name | {
        "body": person(motion, fps, f"{name['title']}: {spaced(label)}, {seconds}.", made),
        "seconds": seconds,
    }


def _bones(story: MotionStory) -> str:
    return bones(story.recorded[0].shape[1])


def _clock(motions: Sequence[Tensor], fps: float, slower: int = 1) -> Clock:
    return Clock("frame", 1, max(2, *map(len, motions)), round(slower / fps, 4), SECONDS_AT_REST, "Frame")

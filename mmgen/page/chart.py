"""Charts in SVG that take their colours from the page, so that they fit a light and a dark one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from mmgen.page.page import TEMPLATES, macros

WIDTH, HEIGHT = 560, 270
LEFT, RIGHT, TOP, BOTTOM = 46, WIDTH - 96, 14, HEIGHT - 34
LABEL = 15  # points between two labels, at least
templates = macros(TEMPLATES / "chart.html")

Points = list[tuple[float, float]]
"""(step, value) pairs."""


@dataclass(frozen=True)
class Curve:
    """Values over the steps of a run, or over the frames of a clip: by name, lines that were measured while training
    and points on held-out data. `colours` are classes of the page; `marks` say what begins at a place of the axis.
    """

    title: str
    lines: dict[str, Points] = field(default_factory=dict)
    points: dict[str, Points] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    axis: str = "steps"
    marks: dict[float, str] = field(default_factory=dict)


def draw_charts(curves: Sequence[Curve]) -> list[Markup]:
    """The charts side by side, as one block of a section; no block where there are no values."""
    measured = [curve for curve in curves if any((*curve.lines.values(), *curve.points.values()))]
    return [templates.charts([(curve.title, chart(curve)) for curve in measured])] if measured else []


def chart(curve: Curve) -> Markup:
    """Lines and points, each named at its end, of a curve with at least one value."""
    lines = {name: smoothed(points) for name, points in curve.lines.items() if points}
    dots = {name: points for name, points in curve.points.items() if points}
    names = list(lines | dots)
    everything = [point for points in (*lines.values(), *dots.values()) for point in points]
    last = max(step for step, _ in everything)
    # The first steps of a training lie far from all that follows and would flatten it.
    later = [value for step, value in everything if step >= 0.03 * last]
    ticks = round_ticks(min(later), max(later))
    low, high = ticks[0], ticks[-1]

    def x(step: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * step / last, 1)

    def y(value: float) -> float:
        return round(TOP + (BOTTOM - TOP) * (high - min(max(value, low), high)) / (high - low), 1)

    ends = {name: (dots.get(name) or lines[name])[-1][1] for name in names}
    heights = separate_labels({name: y(value) for name, value in ends.items()})
    drawn = [
        {"name": name, "colour": curve.colours.get(name, "grey"), "at": round(heights[name], 1),
         "path": " ".join(f"{x(step)},{y(value)}" for step, value in lines.get(name) or dots[name]),
         "dotted": name not in lines, "points": [(x(step), y(value)) for step, value in dots.get(name, [])]}
        for name in names
    ]  # fmt: skip
    summary = "; ".join(f"{name} ends at {value:.3g}" for name, value in ends.items())
    steps = [tick for tick in round_ticks(0, last) if tick <= last and tick % 1 == 0]
    drawing: Markup = templates.chart(
        (WIDTH, HEIGHT), (LEFT, RIGHT, TOP, BOTTOM), f"{curve.title}, over {last:,.0f} {curve.axis}: {summary}.",
        [(y(tick), f"{tick:g}") for tick in ticks], [(x(tick), f"{tick:,.0f}") for tick in steps], curve.axis,
        [(x(place), text) for place, text in curve.marks.items()], drawn,
    )  # fmt: skip
    return drawing


def smoothed(points: Points, window: float = 0.02) -> Points:
    """A running mean over that share of the points, at most 200 of them; fewer than 1 / `window` stay as they are."""
    weight = 1 / max(1, int(window * len(points)))
    means, mean = [], points[0][1]
    for step, value in points:
        mean += weight * (value - mean)
        means.append((step, mean))
    return means[:: -math.ceil(len(means) / 200)][::-1]


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from just below `low` on, to just above `high`; at least two of them."""
    raw = (high - low) / about or abs(high) or 1.0
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def separate_labels(ends: dict[str, float]) -> dict[str, float]:
    """The same heights, moved down where two labels would touch, then all up where they would leave the picture."""
    placed: dict[str, float] = {}
    for name, at in sorted(ends.items(), key=lambda item: item[1]):
        placed[name] = max([at, *(other + LABEL for other in placed.values())])
    excess = max(0.0, max(placed.values()) - (BOTTOM - 4))
    return {name: at - excess for name, at in placed.items()}

"""Figures that change along a clip as a small SVG, drawn from results.json: the same figures give the same bytes, so
that `mmgen card --check` can tell whether it is up to date.
"""

from dataclasses import dataclass
from html import escape

from mmgen.store.results import Figure

FILE = "curves.svg"

BY_FRAME, BY_WINDOW, REAL = "per_frame", "per_window", "per_window_real"
LISTS = (BY_FRAME, BY_WINDOW, REAL, "first_frame", "window")
"""Parts of a protocol for the curves only."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe & Ito 2008
_WIDTH, _COLUMNS = 360, 2  # of a panel in pixels; panels a row
_LEFT, _TOP, _PLOT, _LINE = 52, 30, 150, 15  # margins, height of the plot, height of a line of text


@dataclass(frozen=True)
class Curve:
    """One line of a panel: the figure `y` at frames `x`, from 0."""

    label: str  # in the legend
    x: list[float]  # frames
    y: list[float]  # values
    trained: int | None  # frames of a training clip, if known
    real: bool = False  # it is of real clips, for comparison


def drawing(figures: list[Figure]) -> str | None:
    """The SVG of all figures with a list by frame or by window, a panel a metric; None where there are none."""
    panels = _panels(figures)
    if not panels:
        return None
    rows = [list(panels.items())[start : start + _COLUMNS] for start in range(0, len(panels), _COLUMNS)]
    parts, top = [], 0
    for row in rows:
        for column, (metric, curves) in enumerate(row):
            parts.append(f'<g transform="translate({column * _WIDTH} {top})">\n{_panel(metric, curves)}</g>\n')
        top += _TOP + _PLOT + _LINE * (2 + max(len(curves) for _, curves in row)) + 10
    width = _WIDTH * min(_COLUMNS, len(panels))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}"'
    head += ' font-family="sans-serif" font-size="11" fill="#222">\n'
    return f'{head}<rect width="{width}" height="{top}" fill="#fff"/>\n{"".join(parts)}</svg>\n'


def _panels(figures: list[Figure]) -> dict[str, list[Curve]]:
    """Metric -> its curves, in the order of the figures."""
    by_metric: dict[str, list[Figure]] = {}
    for figure in figures:
        if {BY_FRAME, BY_WINDOW} & set(figure.protocol or {}):
            by_metric.setdefault(figure.metric, []).append(figure)
    panels: dict[str, list[Curve]] = {}
    for metric, each in by_metric.items():
        curves = [curve for figure, label in zip(each, _labels(each), strict=True) for curve in _curves(figure, label)]
        # The same real clips belong to every mode; they are drawn once.
        lines = [(curve.real, curve.x, curve.y) for curve in curves]
        panels[metric] = [c for place, c in enumerate(curves) if not c.real or lines.index(lines[place]) == place]
    return panels


def _labels(figures: list[Figure]) -> list[str]:
    """A name for each, no longer than it takes to tell them apart."""
    parts = [[figure.mode or "reconstruction", figure.settings] for figure in figures]
    others = (
        [None if figure.steps is None else f"{figure.steps} steps" for figure in figures],
        [figure.data for figure in figures],
        [None if figure.training_seed is None else f"training seed {figure.training_seed}" for figure in figures],
    )
    for more in others:
        if len({tuple(each) for each in parts}) < len(parts):
            parts = [[*each, one] for each, one in zip(parts, more, strict=True)]
    return [", ".join(filter(None, each)) for each in parts]


def _curves(figure: Figure, label: str) -> list[Curve]:
    how = figure.protocol or {}
    first, trained = how.get("first_frame", 0), how.get("trained_frames")
    if BY_FRAME in how:
        return [Curve(label, [float(first + place) for place in range(len(how[BY_FRAME]))], how[BY_FRAME], trained)]
    middle = [first + how["window"] * (place + 0.5) - 0.5 for place in range(len(how[BY_WINDOW]))]
    curves = [Curve(label, middle, how[BY_WINDOW], trained)]
    return curves + ([Curve(f"{label}: real clips", middle, how[REAL], trained, real=True)] if REAL in how else [])


def _panel(metric: str, curves: list[Curve]) -> str:
    low_x, high_x = _range([x for curve in curves for x in curve.x], pad=0)
    low_y, high_y = _range([y for curve in curves for y in curve.y], pad=0.05)
    width = _WIDTH - _LEFT - 12
    title = f"{metric}: distance by window" if metric.startswith("drift") else metric

    def across(x: float) -> str:
        return f"{_LEFT + (x - low_x) / (high_x - low_x) * width:.1f}"

    def down(y: float) -> str:
        return f"{_TOP + (high_y - y) / (high_y - low_y) * _PLOT:.1f}"

    bottom = _TOP + _PLOT
    text = f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>\n'
    for share in (0.0, 0.5, 1.0):
        y = low_y + share * (high_y - low_y)
        text += f'<path d="M{_LEFT} {down(y)}H{_LEFT + width}" stroke="#ddd"/>'
        text += f'<text x="{_LEFT - 5}" y="{float(down(y)) + 4:.1f}" text-anchor="end">{y:.3g}</text>\n'
    for x, anchor in ((low_x, "start"), (high_x, "end")):
        text += f'<text x="{across(x)}" y="{bottom + _LINE}" text-anchor="{anchor}">{x:g}</text>'
    text += f'<text x="{_LEFT + width / 2:.1f}" y="{bottom + _LINE}" text-anchor="middle">frame</text>\n'
    for end in sorted({curve.trained for curve in curves if curve.trained is not None}):
        if low_x < end - 0.5 < high_x:
            text += f'<path d="M{across(end - 0.5)} {_TOP}V{bottom}" stroke="#888" stroke-dasharray="2 3"/>'
            text += f'<text x="{float(across(end - 0.5)) + 3:.1f}" y="{_TOP + 10}" fill="#666">trained so far</text>\n'
    colours, number = [], -1
    for curve in curves:
        number += not curve.real  # a real one goes with the curve before it
        colours.append(_COLOURS[number % len(_COLOURS)])
    for place, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        dashes = ' stroke-dasharray="5 3"' if curve.real else ""
        style = f'fill="none" stroke="{colour}" stroke-width="1.5"{dashes}'
        points = " ".join(f"{across(x)},{down(y)}" for x, y in zip(curve.x, curve.y, strict=True))
        dot = f'<circle cx="{across(curve.x[0])}" cy="{down(curve.y[0])}" r="2" fill="{colour}"/>'
        text += f'<polyline {style} points="{points}"/>{dot if len(curve.x) == 1 else ""}\n'
        row = bottom + _LINE * (2 + place)
        text += (
            f'<path {style} d="M{_LEFT} {row - 4}h18"/><text x="{_LEFT + 24}" y="{row}">{escape(curve.label)}</text>\n'
        )
    return text


def _range(values: list[float], pad: float) -> tuple[float, float]:
    """The lowest and the highest, never equal, with a share of their distance beyond both."""
    low, high = min(values), max(values)
    if low == high:
        return low - 0.5, high + 0.5
    return low - pad * (high - low), high + pad * (high - low)

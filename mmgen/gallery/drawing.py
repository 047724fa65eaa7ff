"""Drawings in SVG that take their colours from the page, so that they fit a light and a dark one."""

import math
from collections.abc import Sequence
from html import escape

from einops import rearrange
from markupsafe import Markup

from mmgen.gallery.material import Curve, Film

_WIDTH, _HEIGHT = 560, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 96, 14, 34
_LABEL = 15  # points between two labels at least

Points = Sequence[tuple[float, float]]


def chart(curve: Curve, colours: dict[str, str]) -> Markup:
    """Lines and points over steps, each line named at its end.

    Args:
        curve: with at least one value.
        colours: line -> class of the page that sets its colour.
    """
    lines = {name: smoothed(points) for name, points in curve.lines.items() if points}
    every = [point for points in (*lines.values(), *curve.points.values()) for point in points]
    last = max(step for step, _ in every)
    # The first steps of a training lie far above all that follows and would flatten it.
    later = [value for step, value in every if step >= 0.03 * last] or [value for _, value in every]
    ticks = nice_ticks(min(later), max(later))
    low, high = min(ticks[0], min(later)), max(ticks[-1], max(later))

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - min(value, high)) / ((high - low) or 1)

    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick):.1f}" text-anchor="end" dominant-baseline="central">{tick:g}</text>')
    for tick in (tick for tick in nice_ticks(0, last) if tick <= last):
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{tick:,.0f}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT + 10}" y="{_HEIGHT - 12}">steps</text>')
    names = list(dict.fromkeys([*lines, *curve.points]))
    ends = {name: y((curve.points.get(name) or lines[name])[-1][1]) for name in names}
    for name, at in _apart(ends).items():
        colour = colours.get(name, "grey")
        if name in lines:
            path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in lines[name])
            parts.append(f'<polyline class="line {colour}" points="{path}"/>')
        for step, value in curve.points.get(name, ()):
            parts.append(f'<circle class="point {colour}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="3.5"/>')
        parts.append(f'<text class="label {colour}" x="{_WIDTH - _RIGHT + 10}" y="{at:.1f}" dominant-baseline="central">{escape(name)}</text>')
    described = "; ".join(f"{name} ends at {(curve.points.get(name) or lines[name])[-1][1]:.3g}" for name in names)
    label = escape(f"{curve.title}, {curve.unit} over {last:,.0f} steps: {described}.")
    return Markup(f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>')  # noqa: S704


def order_map(film: Film, sample: int, name: str) -> Markup:
    """The token grid of one sample, each place with the pass at which it was committed; the earlier, the stronger."""
    order = commit_passes(film, sample)
    longest = max(max(row) for row in order) or 1
    cells = []
    for row, values in enumerate(order):
        for column, value in enumerate(values):
            strength = 0.95 - 0.85 * value / longest
            ink = "var(--paper)" if strength > 0.45 else "var(--ink)"
            cells.append(
                f'<rect x="{16 * column + 0.5}" y="{16 * row + 0.5}" width="15" height="15" rx="2" fill="var(--accent)" fill-opacity="{strength:.2f}"/>'
                f'<text x="{16 * column + 8}" y="{16 * row + 8.5}" fill="{ink}">{value}</text>'
            )
    label = escape(f"{name}: the pass at which each token was committed, row by row: {'; '.join(' '.join(map(str, row)) for row in order)}.")
    size = f"0 0 {16 * len(order[0])} {16 * len(order)}"
    return Markup(f'<svg class="map" viewBox="{size}" role="img" aria-label="{label}">{"".join(cells)}</svg>')  # noqa: S704


def commit_passes(film: Film, sample: int) -> list[list[int]]:
    """Rows of the token grid of one sample: the number of passes after which each place stood; 0 where it was given."""
    committed = rearrange(film.committed[:, sample], "f t h w -> f (t h) w")
    first = committed.int().argmax(0)
    return [[film.passes[frame] for frame in row] for row in first.tolist()]


def smoothed(points: Points, window: float = 0.02) -> list[tuple[float, float]]:
    """A running mean whose memory is that share of the points, at most 200 of them, so that the line and not its noise is seen."""
    weight = 1 / max(1.0, window * len(points))
    kept, mean = [], points[0][1]
    for step, value in points:
        mean += weight * (value - mean)
        kept.append((step, mean))
    stride = math.ceil(len(kept) / 200)
    return kept[::-1][::stride][::-1]


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from just below `low` on, to just above `high`."""
    raw = (high - low) / about or 1.0
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(magnitude * factor for factor in (1, 2, 2.5, 5, 10) if magnitude * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _apart(ends: dict[str, float]) -> dict[str, float]:
    """The same heights, in order, moved down where two labels would touch, and all up again where they would leave the picture."""
    placed: dict[str, float] = {}
    for name, at in sorted(ends.items(), key=lambda item: item[1]):
        placed[name] = max([at, *(other + _LABEL for other in placed.values())])
    excess = max(0.0, max(placed.values()) - (_HEIGHT - _BOTTOM - 4))
    return {name: at - excess for name, at in placed.items()}

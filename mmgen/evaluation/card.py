"""The table of figures in a recipe's README.md, and its curves, rendered from results.json: generated, never typed."""

import re
from html import escape
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.terminal import printable
from mmgen.evaluation.curves import FILE, LISTS, drawing
from mmgen.media.folders import write_whole
from mmgen.store.recipes import recipes_root
from mmgen.store.results import RESULTS, Figure, read

KINDS = ("tokenizers", "experiments")
README = "README.md"
BEGIN = "<!-- figures: written by `mmgen card` from results.json; what is typed here is lost -->"
END = "<!-- /figures -->"

UNMEASURED = "Not measured yet:"
"""Begins a line in the README.md of a recipe without figures."""

ERROR = "standard_error"

_ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_MEASURE = re.compile(
    r"\b(psnr|ssim|r?fid|kid|fvd|drift|precision|recall|accuracy|usage|perplexity|stoi|pesq|wer|cer|dnsmos|mpjpe|latency)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(r"\d\.\d|\d\s*(%|percent\b|dB\b|ms\b)")


def card_folders() -> list[Path]:
    """The folders of all recipes, as short as can be written from here."""
    root, here = recipes_root(), Path.cwd()
    folders = sorted(config.parent for kind in KINDS for config in root.glob(f"{kind}/*/config.yaml"))
    return [folder.relative_to(here) if folder.is_relative_to(here) else folder for folder in folders]


def update_card(folder: Path) -> bool:
    """Render the table into the folder's README.md, and the curves, where figures have some, into a file. Returns
    whether anything changed.

    Raises:
        UserError: no figures, damaged ones, a broken pair of markers, or a file that cannot be read or written.
    """
    changed = False
    for file, text in ((folder / README, rendered(folder)), (folder / FILE, drawing(read(folder)))):
        try:
            if text is not None and not (file.exists() and file.read_text(encoding="utf-8") == text):
                write_whole(file, text.encode())
                changed = True
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}") from None
    return changed


def faults(folder: Path) -> list[str]:
    """What is wrong with a folder's card, a line each: no README, no figures, another table, or typed figures. Raises
    UserError for damaged results or a broken pair of markers.
    """
    readme, curves, lines = folder / README, folder / FILE, []
    if not unmeasured(folder):
        if not (folder / RESULTS).exists():
            lines.append(f"{folder} has no {RESULTS}: run mmgen evaluate RUN --card {folder}")
        if not readme.exists():
            lines.append(f"{folder} has no {README}: run mmgen card {folder}")
        if lines:
            return lines
        if readme.read_text(encoding="utf-8") != rendered(folder):
            lines.append(f"{readme} differs from its {RESULTS}: run mmgen card {folder}")
        svg = drawing(read(folder))
        if svg != (curves.read_text(encoding="utf-8") if curves.exists() else None):
            mend = f"delete {curves}" if svg is None else f"run mmgen card {folder}"
            lines.append(f"{curves} differs from its {RESULTS}: {mend}")
    return lines + [
        f"{readme} holds a typed figure, {line!r}: measure it, or give its source as a link"
        for line in typed_figures(readme.read_text(encoding="utf-8"))
    ]


def unmeasured(folder: Path) -> bool:
    """Whether the folder has no figures and its README.md says so."""
    readme = folder / README
    if (folder / RESULTS).exists() or not readme.exists():
        return False
    return f"\n{UNMEASURED}" in readme.read_text(encoding="utf-8")


def rendered(folder: Path) -> str:
    """The folder's README.md: its own words, and the figures between the markers, or at the end."""
    figures = read(folder)
    if not figures:
        raise UserError(f"{folder} has no figures in {RESULTS}; run mmgen evaluate RUN --card {folder}")
    before, after = words(folder)
    curves = "" if drawing(figures) is None else f"\n![Figures along a clip]({FILE})\n"
    return f"{before}{BEGIN}\n{table(figures)}{curves}{END}{after}"


def words(folder: Path) -> tuple[str, str]:
    """The text of a README.md before and after its table; a title for a missing one. Raises UserError where it cannot
    be read, or one of the two markers is missing or stands there twice.
    """
    readme = folder / README
    try:
        text = readme.read_text(encoding="utf-8") if readme.exists() else f"# {folder.absolute().name}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{readme} cannot be read: {error}") from None
    text = re.sub(rf"^{UNMEASURED}.*\n?", "", text, flags=re.MULTILINE)  # what is rendered now has figures
    if BEGIN not in text and END not in text:
        return f"{text.rstrip()}\n\n", "\n"
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(BEGIN) > text.index(END):
        raise UserError(
            f"{readme} must hold the markers {BEGIN} and {END} once each, in this order;"
            " remove both, and they are put at its end"
        )
    return text.split(BEGIN)[0], text.split(END)[1]


def table(figures: list[Figure]) -> str:
    """A Markdown table, a row for each way of measuring and a column for each metric, then the commands behind it."""
    by_order = {figure.metric: figure for figure in sorted(figures, key=lambda figure: figure.order)}
    origins = list(dict.fromkeys(map(_origin, figures)))
    rows: dict[tuple[str, ...], dict[str, Figure]] = {}
    for figure in figures:
        command = origins.index(_origin(figure)) + 1
        rows.setdefault((*_way(figure).values(), str(command)), {})[figure.metric] = figure
    names = list(_way(figures[0]))
    columns = [column for column in range(len(names)) if any(row[column] for row in rows)]
    metrics = [f"`{metric}`{_ARROWS[figure.direction]}" for metric, figure in by_order.items()]
    lines = [
        [*(names[column] for column in columns), *metrics, "command"],
        ["---"] * len(columns) + ["---:"] * len(metrics) + ["---"],
    ]
    for row, measured in rows.items():
        values = [_cell(measured[metric]) if metric in measured else "" for metric in by_order]
        lines.append([plain_markdown(row[column]) for column in columns] + values + [row[-1]])
    text = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
    text += "\n"
    for place, origin in enumerate(origins, 1):
        text += f"{place}. {origin}\n"
        if how := protocol([figure for figure in figures if _origin(figure) == origin]):
            text += f"   - {how}\n"
    return text


def protocol(figures: list[Figure]) -> str:
    """How figures of one command were measured, on one line; empty where that is unknown."""
    texts: dict[str, dict[str, None]] = {}
    for figure in figures:
        for name, value in (figure.protocol or {}).items():
            if name != ERROR and name not in LISTS:  # those stand in the table, or in the curves
                texts.setdefault(name, {})[_plain(name, value)] = None
    return plain_markdown("; ".join(f"{name} {', or '.join(each)}" for name, each in texts.items()))


def plain_markdown(text: str) -> str:
    """A text of others in a line of Markdown, which it does not change: it is no HTML, link, picture or code."""
    text = escape(" ".join(printable(text).split()), quote=False)
    return text.replace("`", "'").replace("![", "!\\[").replace("](", "]\\(").replace("]:", "]\\:")


def _code(text: str) -> str:
    """A text of others as code, which it does not end, and without a mark of ours."""
    return f"`{' '.join(printable(text).split()).replace('`', chr(39)).replace('<!--', '<! --')}`"


def number(value: float) -> str:
    """A figure as cards show it: four significant digits, whole numbers in full."""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"


def typed_figures(text: str) -> list[str]:
    """Lines of a README, outside table and code, that state a measurement without a link to its source."""
    prose = _CODE.sub("", _BETWEEN.sub("", text))
    return [
        line.strip()
        for line in prose.splitlines()
        if _MEASURE.search(line) and _VALUE.search(line) and "://" not in line
    ]


def _way(figure: Figure) -> dict[str, str]:
    """The columns of a row that say what was measured."""
    steps = "" if figure.steps is None else str(figure.steps)
    way = {"data": figure.data, "mode": figure.mode or "", "steps": steps, "settings": figure.settings or ""}
    training = "" if figure.training_seed is None else str(figure.training_seed)
    return way | {"training seed": training, "checkpoint": figure.checkpoint or ""}


def _cell(figure: Figure) -> str:
    """The value, with its standard error if that is known."""
    error = (figure.protocol or {}).get(ERROR)
    return number(figure.value) + ("" if error is None else f" ± {error:.2g}")


def _plain(name: str, value: Any) -> str:
    """A value of a protocol in words."""
    if name == "reference" and isinstance(value, dict):
        data = f"{value['data']} {value.get('split', '')}".strip()
        if "sample_rate" in value:
            kind, content = f"clips of {value['seconds']:g} s at {value['sample_rate']:,} Hz", "samples"
        elif "fps" in value:
            kind, content = f"motions of {value['frames']} frames at {value['fps']:g} a second", "features"
        else:
            kind, content = f"clips of {value['frames']} frames" if "frames" in value else "images", "pixels"
        return f"{value['count']:,} {kind} of {data}, SHA-256 of their {content} {value['sha256']}"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)


def _origin(figure: Figure) -> str:
    """Where a figure comes from, on one line."""
    seed = "" if figure.seed is None else f", seed {figure.seed}"
    budget = "" if figure.budget is None else f" after training for {figure.budget}"
    rest = (
        f"{budget}: {figure.samples:,} samples{seed}, {figure.seconds:.0f} s on {figure.machine};"
        f" commit {figure.commit}, {figure.date}"
    )
    return _code(figure.command) + plain_markdown(f".{rest}")[1:]

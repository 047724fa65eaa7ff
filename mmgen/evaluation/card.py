"""The table of figures in a recipe's README.md, rendered from its results.json: generated, never typed."""

import re
from collections.abc import Iterable
from pathlib import Path

from mmgen.errors import UserError
from mmgen.recipes import recipes_root
from mmgen.results import METRICS, RESULTS, Figure, base_metric, read

README = "README.md"
BEGIN = "<!-- figures: written by `mmgen card` from results.json; what is typed here is lost -->"
END = "<!-- /figures -->"

_ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}
_BETWEEN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_MEASURE = re.compile(r"\b(psnr|ssim|r?fid|kid|fvd|precision|recall|accuracy|usage|perplexity|stoi|pesq|wer|mpjpe|latency)\b", re.IGNORECASE)
_VALUE = re.compile(r"\d\.\d|\d\s*(%|percent\b|dB\b|ms\b)")


def card_folders() -> list[Path]:
    """The folders of all recipes."""
    return sorted(config.parent for kind in ("tokenizers", "experiments") for config in (recipes_root() / kind).glob("*/config.yaml"))


def update_card(folder: Path) -> bool:
    """Render the table into the folder's README.md, which is made where there is none. Returns whether anything changed.

    Raises:
        UserError: no figures yet, damaged ones, a broken pair of markers, or a file that cannot be read or written.
    """
    text = rendered(folder)
    readme = folder / README
    try:
        if readme.exists() and readme.read_text(encoding="utf-8") == text:
            return False
        readme.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{readme} cannot be written: {error.strerror}") from None
    return True


def faults(folder: Path) -> list[str]:
    """What is wrong with a folder's card, a line each: no README, no figures, a table that differs, figures typed around it.

    Raises:
        UserError: damaged results or a broken pair of markers.
    """
    readme, found = folder / README, []
    if not (folder / RESULTS).exists():
        found.append(f"{folder} has no {RESULTS}: run mmgen evaluate RUN --card {folder}")
    if not readme.exists():
        found.append(f"{folder} has no {README}: run mmgen card {folder}")
    if found:
        return found
    text = readme.read_text(encoding="utf-8")
    if text != rendered(folder):
        found.append(f"{readme} differs from its {RESULTS}: run mmgen card {folder}")
    return found + [f"{readme} holds a typed figure, {line!r}: measure it, or give its source as a link" for line in typed_figures(text)]


def rendered(folder: Path) -> str:
    """What the folder's README.md should be: its own text, with the figures between the markers, or at the end."""
    figures = read(folder)
    if not figures:
        raise UserError(f"{folder} has no figures in {RESULTS}; run mmgen evaluate RUN --card {folder}")
    readme = folder / README
    try:
        text = readme.read_text(encoding="utf-8") if readme.exists() else f"# {folder.absolute().name}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{readme} cannot be read: {error}") from None
    block = f"{BEGIN}\n{table(figures)}{END}"
    if (text.count(BEGIN), text.count(END)) == (0, 0):
        return f"{text.rstrip()}\n\n{block}\n"
    if (text.count(BEGIN), text.count(END)) != (1, 1) or not _BETWEEN.search(text):
        raise UserError(f"{readme} must hold the markers {BEGIN} and {END} once each, in this order; or neither, and they are put at its end")
    return _BETWEEN.sub(lambda _: block, text)


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table, a row for each thing that was measured and a column for each metric, then the commands behind it."""
    figures = list(figures)
    metrics = sorted({f.metric for f in figures}, key=lambda name: _place(name, figures))
    commands = list(dict.fromkeys(map(_origin, figures)))
    rows: dict[tuple[str, ...], dict[str, Figure]] = {}
    for figure in figures:
        about = (figure.data, figure.mode or "", "" if figure.steps is None else str(figure.steps), figure.settings or "")
        rows.setdefault((*about, str(commands.index(_origin(figure)) + 1)), {})[figure.metric] = figure
    heads = ["data", "mode", "steps", "settings", "command"]
    shown = [column for column, head in enumerate(heads) if head in ("data", "command") or any(about[column] for about in rows)]
    lines = [
        [heads[column] for column in shown[:-1]] + [_head(name, figures) for name in metrics] + [heads[-1]],
        ["---"] * (len(shown) - 1) + ["---:"] * len(metrics) + ["---"],
    ]
    for about, measured in rows.items():
        values = [number(measured[name].value) if name in measured else "" for name in metrics]
        lines.append([about[column] for column in shown[:-1]] + values + [about[-1]])
    text = "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
    return text + "\n" + "".join(f"{index}. {origin}\n" for index, origin in enumerate(commands, 1))


def number(value: float) -> str:
    """A figure as cards show it: four significant digits, whole numbers in full."""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1e4 else f"{value:.4g}"


def typed_figures(text: str) -> list[str]:
    """Lines of a README, outside its table and its code, that state a measurement. One that is quoted with its link may stand."""
    prose = _CODE.sub("", _BETWEEN.sub("", text))
    return [line.strip() for line in prose.splitlines() if _MEASURE.search(line) and _VALUE.search(line) and "://" not in line]


def _origin(figure: Figure) -> str:
    """Where a figure comes from, on one line."""
    seed = "" if figure.seed is None else f", seed {figure.seed}"
    budget = "" if figure.budget is None else f" after training for {figure.budget}"
    return (
        f"`{figure.command}`{budget}: {figure.samples:,} samples{seed}, {figure.seconds:.0f} s on {figure.machine};"
        f" commit {figure.commit}, {figure.date}"
    )


def _head(metric: str, figures: list[Figure]) -> str:
    return f"`{metric}`{_ARROWS[METRICS[_base(metric, figures)]]}"


def _place(metric: str, figures: list[Figure]) -> tuple[int, str]:
    return list(METRICS).index(_base(metric, figures)), metric


def _base(metric: str, figures: list[Figure]) -> str:
    return next(base_metric(f.metric, f.extractor) for f in figures if f.metric == metric)

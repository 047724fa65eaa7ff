"""The runs of one modality beside each other: what each of their columns is called, and its colour."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup

from mmgen.page.runs import Run, SampleFolder
from mmgen.page.wording import MODES, PALETTE, mode_title
from mmgen.store.results import Figure

Name = TypeVar("Name")


@dataclass(frozen=True)
class Column:
    """What stands above a column, beside a curve or on a card: its title; what a command calls it, a mode, a run or a
    folder of samples; one sentence on it; and its colour, a key of `PALETTE`.
    """

    title: str
    key: str = ""
    how: str = ""
    colour: str = "grey"


@dataclass(frozen=True)
class Card:
    """What a section shows of one column: a picture, film or sound; one sentence on it; names above the columns of the
    picture; numbers below it, name -> text; and the command that made it.
    """

    column: Column
    body: Markup
    text: str = ""
    heads: Sequence[str] = ()
    numbers: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


class Way(NamedTuple):
    """A folder of samples or reconstructions, its run, and its column."""

    run: Run
    folder: SampleFolder
    column: Column

    @property
    def command(self) -> str:
        """That made it."""
        return self.folder.command


class Sample(NamedTuple):
    """A file of a row: its column, its folder, and its number there; None for a recording."""

    column: Column
    file: Path
    folder: SampleFolder
    number: int | None


class Chapter:
    """Runs of one modality, in the order in which they were named: generators sample, tokenizers encode."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.generators = [run for run in runs if run.kind == "generator"]
        self.tokenizers = [run for run in runs if run.kind == "tokenizer"]

    @cached_property
    def _columns(self) -> dict[tuple[str, str], Column]:
        """(run, mode) -> column. Modes have their own colours as long as no two columns share one."""
        pairs = [(run, mode) for run in self.generators for mode in run.modes]
        is_distinct = len({mode for _, mode in pairs}) == len(pairs)
        columns: dict[tuple[str, str], Column] = {}
        for place, (run, mode) in enumerate(pairs):
            title, how, colour = MODES.get(mode, (mode_title(mode), "", ""))
            if not is_distinct:
                title = run.name if len(run.modes) == 1 else f"{run.name}: {title.lower()}"
            if not is_distinct or not colour:
                used = {"grey", *(column.colour for column in columns.values())}
                free = [each for each in PALETTE if each not in used]
                colour = free[0] if free else list(PALETTE)[place % len(PALETTE)]
            columns[run.name, mode] = Column(title, mode if len(self.generators) == 1 else run.name, how, colour)
        return columns

    def column(self, run: Run, mode: str | None) -> Column:
        """Of a way of sampling, or of a whole run where `mode` is None."""
        title = run.name.capitalize() if len(self.runs) < 3 else run.name
        return self._columns.get((run.name, mode or ""), Column(title, mode or run.kind))

    def samples(self, wanted: Callable[[dict[str, Any]], bool] = lambda record: not record.get("inpaint")) -> list[Way]:
        """The folders of samples whose records are wanted; by default all but inpaintings."""
        return self._ways([(run, each) for run in self.generators for each in run.samples if wanted(each.record)])

    def inpaintings(self) -> list[Way]:
        """The folders of samples of which a part was given, each with the column of its mode."""
        ways = self.samples(lambda record: bool(record.get("inpaint")))
        return [way._replace(column=self.column(way.run, way.folder.mode)) for way in ways]

    def reconstructions(self) -> list[Way]:
        """The folders of reconstructions."""
        return self._ways([(run, each) for run in self.tokenizers for each in run.reconstructions])

    def figures(self, metric: str) -> list[tuple[Column, Figure]]:
        """The figures of a metric, by its base name, each with its column."""
        return [(self.column(run, each.mode), each) for run in self.runs for each in run.figures if each.base == metric]

    def _ways(self, pairs: list[tuple[Run, SampleFolder]]) -> list[Way]:
        """Folders with the same column have their names as keys."""
        columns = [self.column(run, folder.mode) for run, folder in pairs]
        return [
            Way(run, folder, replace(column, key=folder.path.name) if columns.count(column) > 1 else column)
            for (run, folder), column in zip(pairs, columns)
        ]


def side_by_side(
    ways: Sequence[Way], suffix: str, names: Callable[[SampleFolder], Iterable[Name]], recorded: Column
) -> dict[Name, list[Sample]]:
    """Name -> the first sample of that name in each folder, before them its recording in the `recorded` column; `names`
    gives those of the samples of a folder, in order.
    """
    rows: dict[Name, list[Sample]] = {}
    for _, folder, column in ways:
        files = zip(names(folder), folder.files(suffix), folder.recordings(suffix))
        for number, (name, file, recording) in enumerate(files):
            row = rows.setdefault(name, [])
            columns = [each.column for each in row]
            if recording is not None and recorded not in columns:
                row.insert(0, Sample(recorded, recording, folder, None))
            if column not in columns:
                row.append(Sample(column, file, folder, number))
    return rows

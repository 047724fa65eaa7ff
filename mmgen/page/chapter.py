"""The runs of one modality beside each other: what each of their columns is called, and its colour."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup

from mmgen.core.errors import UserError
from mmgen.page.runs import Run, SampleFolder
from mmgen.page.wording import MODES, PALETTE, mode_title

Name = TypeVar("Name")


@dataclass(frozen=True)
class Column:
    """What stands above a column, beside a curve or on a card.

    Args:
        title: for people.
        key: what a command calls it: a mode, a run or a folder of samples.
        how: one sentence on it; may be empty.
        colour: class of the page that sets its colour; a key of `PALETTE`.
    """

    title: str
    key: str = ""
    how: str = ""
    colour: str = "grey"


@dataclass(frozen=True)
class Card:
    """What a section shows of one column.

    Args:
        column: above it.
        body: a picture, film or sound.
        text: one sentence on it.
        heads: names above the columns of a picture.
        numbers: name -> text, below it.
        command: that made it.
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


class Sample(NamedTuple):
    """A file of a row: its column, its folder, and its number there; None for a recording."""

    column: Column
    file: Path
    folder: SampleFolder
    number: int | None


@dataclass(frozen=True, eq=False)
class Chapter:
    """Runs of one modality, in the order in which they were named."""

    runs: Sequence[Run]

    @property
    def generators(self) -> list[Run]:
        """Those that sample."""
        return [run for run in self.runs if run.kind == "generator"]

    @property
    def tokenizers(self) -> list[Run]:
        """Those that encode."""
        return [run for run in self.runs if run.kind == "tokenizer"]

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

    def samples(self, wanted: Callable[[dict[str, Any]], bool] = lambda record: True) -> list[Way]:
        """The folders of samples whose records are wanted."""
        return self._named([(run, each) for run in self.generators for each in run.samples if wanted(each.record)])

    def reconstructions(self) -> list[Way]:
        """The folders of reconstructions."""
        return self._named([(run, each) for run in self.tokenizers for each in run.reconstructions])

    def _named(self, pairs: list[tuple[Run, SampleFolder]]) -> list[Way]:
        """Folders with the same column have their names as keys."""
        ways = [Way(run, folder, self.column(run, folder.mode)) for run, folder in pairs]
        columns = [way.column for way in ways]
        return [
            way._replace(column=replace(way.column, key=way.folder.path.name))
            if columns.count(way.column) > 1
            else way
            for way in ways
        ]  # fmt: skip


def side_by_side(
    ways: Sequence[Way], suffix: str, names: Callable[[SampleFolder], Iterable[Name]], recorded: Column
) -> dict[Name, list[Sample]]:
    """Name -> the first sample of that name in each folder, before them its recording in a column of its own.

    Args:
        ways: the folders.
        suffix: of the files.
        names: of the samples of a folder, in order.
        recorded: the column of recordings.
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


def chapters_of(runs: Sequence[Run]) -> dict[str, Chapter]:
    """Modality -> its runs, in the order in which they were named. Raises UserError where there are none."""
    if not runs:
        raise UserError("no run is named: give one or several run folders")
    names = dict.fromkeys(run.modality for run in runs)
    return {name: Chapter([run for run in runs if run.modality == name]) for name in names}

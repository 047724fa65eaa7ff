"""The runs of one modality beside each other: what each of their columns is called, and its colour."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mmgen.core.errors import UserError
from mmgen.page.runs import Run, SampleFolder
from mmgen.page.wording import COLOURS, MODES, OTHER, PALETTE, Colour


@dataclass(frozen=True)
class Column:
    """What stands above a column, beside a curve or on a card.

    Args:
        title: for people.
        key: what a command calls it: a mode, a run or a folder of samples.
        how: one sentence on it; may be empty.
        colour: class of the page that sets its colour, whose shade depends on light or dark.
    """

    title: str
    key: str = ""
    how: str = ""
    colour: str = OTHER

    @property
    def rgb(self) -> Colour:
        """The colour in pictures."""
        return PALETTE[self.colour]


@dataclass(frozen=True, eq=False)
class Chapter:
    """Runs of one modality.

    Args:
        runs: tokenizers and generators, in the order in which they were named.
    """

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
        modes, colours = [mode for _, mode in pairs], list(PALETTE)
        distinct = len(set(modes)) == len(modes)
        columns: dict[tuple[str, str], Column] = {}
        for place, (run, mode) in enumerate(pairs):
            title, how = MODES.get(mode, (mode.capitalize(), ""))
            if not distinct:
                title = run.name if len(run.modes) == 1 else f"{run.name}: {title.lower()}"
            colour = COLOURS.get(mode) if distinct else None
            used = {column.colour for column in columns.values()}
            free = [each for each in colours if each not in used and each != OTHER] or colours
            key = mode if len(self.generators) == 1 else run.name
            columns[run.name, mode] = Column(title, key, how, colour or free[place % len(free) if colour else 0])
        return columns

    def column(self, run: Run, mode: str | None) -> Column:
        """Of a way of sampling, or of a whole run where `mode` is None."""
        column = self._columns.get((run.name, mode or ""))
        return column or Column(run.name.capitalize() if len(self.runs) < 3 else run.name, mode or run.kind)

    def columns_of(self, run: Run) -> list[Column]:
        """Of all modes of a run."""
        return [self.column(run, mode) for mode in run.modes]

    def sample_columns(
        self, wanted: Callable[[SampleFolder], bool] = lambda folder: True
    ) -> list[tuple[Run, SampleFolder, Column]]:
        """The folders of samples that are wanted, each with its column."""
        return self._named([(run, each) for run in self.generators for each in run.samples if wanted(each)])

    def reconstruction_columns(self) -> list[tuple[Run, SampleFolder, Column]]:
        """The folders of reconstructions, each with its column."""
        return self._named([(run, each) for run in self.tokenizers for each in run.reconstructions])

    def _named(self, pairs: list[tuple[Run, SampleFolder]]) -> list[tuple[Run, SampleFolder, Column]]:
        columns = [self.column(run, folder.mode) for run, folder in pairs]
        repeated = [columns.count(column) > 1 for column in columns]
        return [
            (run, folder, Column(each.title, folder.path.name, each.how, each.colour) if twice else each)
            for (run, folder), each, twice in zip(pairs, columns, repeated)
        ]


def chapters_of(runs: Sequence[Run]) -> dict[str, Chapter]:
    """Modality -> its runs, in the order in which they were named. Raises UserError where there are none."""
    if not runs:
        raise UserError("no run is named: give one or several run folders")
    return {
        name: Chapter([run for run in runs if run.modality == name]) for name in dict.fromkeys(r.modality for r in runs)
    }

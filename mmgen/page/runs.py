"""Runs as their folders describe them: config, logs, figures, samples and reconstructions. No network is built."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.json_file import read_json
from mmgen.paradigms import Paradigm
from mmgen.store.members import find_member, member_paths
from mmgen.store.rebuild import build_paradigm, build_tokenizer
from mmgen.store.results import RESULTS, Figure, read
from mmgen.store.store import Saved

_RECORD = "record.json"


@dataclass(frozen=True, eq=False)
class SampleFolder:
    """What one command wrote, samples, reconstructions or an edit, and the content of its record.json."""

    path: Path
    record: dict[str, Any]

    @property
    def mode(self) -> str | None:
        """The way of sampling; None for reconstructions."""
        return self.record.get("mode")

    @property
    def command(self) -> str:
        """The line that makes it again."""
        return str(self.record.get("command", ""))

    def files(self, suffix: str) -> list[Path]:
        """The samples, in order: NNN and the suffix."""
        return sorted(file for file in self.path.iterdir() if re.fullmatch(rf"\d+{re.escape(suffix)}", file.name))

    def recordings(self, suffix: str) -> list[Path | None]:
        """For each of `files` the recording beside it, NNN.real; None where there is none."""
        recordings = [file.with_suffix(f".real{suffix}") for file in self.files(suffix)]
        return [file if file.is_file() else None for file in recordings]

    def names(self, *keys: str) -> list[str]:
        """A name for each sample, from the first list of the record that has one: texts, classes, ..."""
        count = int(self.record.get("samples", 0))
        lists = [each for key in keys if isinstance(each := self.record.get(key), list) and len(each) == count]
        names = [next((str(each[place]) for each in lists if each[place]), "") for place in range(count)]
        return [name or f"sample {number}" for number, name in enumerate(names)]


class Run:
    """A run folder or an export; RUN/MEMBER for a member of a joint run.

    Args:
        path: the folder.
        name: of it among those of a page.

    Attributes:
        kind: `tokenizer` or `generator`.
        config: content of config.yaml.
        record: facts of the generator's data; empty for a tokenizer.
        step: optimiser steps taken.
        parameters: how many numbers its weights are.
        spec: of its tokens.
        modes: ways of sampling -> paradigm; empty for a tokenizer.
        figures: rows of its results.json.
        samples: by `mmgen sample` and `mmgen edit`.
        reconstructions: by `mmgen reconstruct`.

    Raises:
        UserError: the folder holds no trained run, or damaged files.
    """

    def __init__(self, path: Path, name: str) -> None:
        saved = Saved.read(path)
        self.path, self.name, self.is_member = path, name, find_member(path) is not None
        self.kind, self.config, self.record, self.step = saved.kind, saved.config, saved.record, saved.step
        self.parameters = sum(value.numel() for value in saved.state.values() if value.is_floating_point())
        self.modes: dict[str, Paradigm] = {}
        if saved.kind == "generator":
            spec = Facts.from_dict(saved.record).spec
            self.modes = build_paradigm(saved.init_args, saved.where).modes()
        else:
            spec = build_tokenizer(saved.init_args, saved.where).spec
        assert spec is not None
        self.spec = spec
        self.figures: list[Figure] = read(path) if (path / RESULTS).is_file() else []
        self.samples, self.reconstructions = _folders(path / "samples"), _folders(path / "reconstructions")

    @property
    def modality(self) -> str:
        """What it is of."""
        return self.spec.modality

    @property
    def home(self) -> Path:
        """Where its logs are: of a member, the folder of the joint run."""
        return self.path.parent if self.is_member else self.path

    @cached_property
    def logs(self) -> list[dict[str, float]]:
        """The rows of its CSV logs (a resumed run has several), each with what it holds, in the order of steps."""
        rows = []
        for file in self.home.glob("logs/csv/version_*/metrics.csv"):
            with file.open(newline="") as opened:
                rows += [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(opened)]
        return sorted(rows, key=lambda row: row["step"])

    def logged(self, metric: str) -> list[tuple[float, float]]:
        """(step, value) pairs of a metric of the logs, such as `val/loss`; of a member its own, where there is one."""
        own = metric.replace("/", f"/{self.path.name}/", 1)
        name = own if any(own in row for row in self.logs) else metric
        return [(row["step"] + 1, row[name]) for row in self.logs if name in row]

    def previews(self) -> dict[str, Path]:
        """The last picture of each kind that training wrote, by name; their own names end in the step."""
        prefix = f"{self.path.name}-" if self.is_member else ""
        files = sorted((self.home / "samples").glob(f"{prefix}*-*.png"))
        return {file.stem[len(prefix) : -8]: file for file in files if re.fullmatch(r".+-\d{7}", file.stem)}

    def commands(self) -> list[str]:
        """What was run, in order: the training, the figures, the samples."""
        record = self.home / _RECORD
        lines = _read_record(record).get("commands", []) if record.is_file() else []
        lines = [*lines, *(each.command for each in self.figures)]
        lines += [folder.command for folder in (*self.reconstructions, *self.samples)]
        return list(dict.fromkeys(line for line in lines if line))


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs with names that tell them apart, as short as possible; all members of a joint run."""
    if not paths:
        raise UserError("no run is named: give one or several run folders")
    paths = [member for path in paths for member in member_paths(path)]
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError("the same run is named twice; name each once")
    depth = next(depth for depth in range(1, 1000) if len({each[-depth:] for each in parts}) == len(parts))
    return [Run(path, "/".join(each[-depth:])) for path, each in zip(paths, parts)]


def _folders(parent: Path) -> list[SampleFolder]:
    """In the order in which they were written."""
    files = sorted(parent.glob(f"[!.]*/{_RECORD}"), key=lambda file: (file.stat().st_mtime_ns, file))
    return [SampleFolder(file.parent, _read_record(file)) for file in files]


def _read_record(file: Path) -> dict[str, Any]:
    record = read_json(file, "record ")
    if not isinstance(record, dict):
        raise UserError(f"{file} is no record of mmgen: delete its folder, and run its command again")
    return record

"""Runs as their folders describe them: config, logs, figures, samples and reconstructions. No network is built."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.paradigms import Paradigm
from mmgen.store.members import find_member, member_paths
from mmgen.store.rebuild import build_paradigm, build_tokenizer
from mmgen.store.results import RESULTS, Figure, read
from mmgen.store.store import Saved

_RECORD = "record.json"


@dataclass(frozen=True, eq=False)
class SampleFolder:
    """What one command wrote: samples, reconstructions or an edit.

    Args:
        path: the folder.
        record: content of its record.json.
    """

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


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder or an export.

    Args:
        path: the folder; RUN/MEMBER for a member of a joint run.
        name: of it among those of a page.
        member: of a joint run, by name; None for a run of its own.
        kind: `tokenizer` or `generator`.
        config: content of config.yaml.
        record: facts of the generator's data; empty for a tokenizer.
        spec: of its tokens.
        step: optimiser steps taken.
        parameters: how many numbers its weights are.
        modes: ways of sampling -> paradigm; empty for a tokenizer.
        figures: rows of its results.json.
        samples: by `mmgen sample` and `mmgen edit`.
        reconstructions: by `mmgen reconstruct`.
    """

    path: Path
    name: str
    member: str | None
    kind: str
    config: dict[str, Any]
    record: dict[str, Any]
    spec: TokenSpec
    step: int
    parameters: int
    modes: dict[str, Paradigm]
    figures: list[Figure]
    samples: list[SampleFolder]
    reconstructions: list[SampleFolder]

    @classmethod
    def read(cls, path: Path, name: str) -> "Run":
        """Raises UserError where the folder holds no trained run, or damaged files."""
        saved, member = Saved.read(path), path.name if find_member(path) else None
        if saved.kind == "generator":
            spec = Facts.from_dict(saved.record).spec
            assert spec is not None
            modes = build_paradigm(saved.init_args, saved.where).modes()
        else:
            spec, modes = build_tokenizer(saved.init_args, saved.where).spec, {}
        parameters = sum(value.numel() for value in saved.state.values() if value.is_floating_point())
        figures = read(path) if (path / RESULTS).is_file() else []
        return cls(
            path, name, member, saved.kind, saved.config, saved.record, spec, saved.step, parameters,
            modes, figures, _folders(path / "samples"), _folders(path / "reconstructions"),
        )  # fmt: skip

    @property
    def modality(self) -> str:
        """What it is of."""
        return self.spec.modality

    @property
    def home(self) -> Path:
        """Where its logs are: of a member, the folder of the joint run."""
        return self.path if self.member is None else self.path.parent

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
        own = metric.replace("/", f"/{self.member}/", 1)
        name = own if any(own in row for row in self.logs) else metric
        return [(row["step"] + 1, row[name]) for row in self.logs if name in row]

    def previews(self) -> dict[str, list[Path]]:
        """Pictures that training wrote, by name, in the order of steps."""
        prefix = "" if self.member is None else f"{self.member}-"
        pictures: dict[str, list[Path]] = {}
        for file in sorted((self.home / "samples").glob(f"{prefix}*-*.png")):
            if match := re.fullmatch(rf"{re.escape(prefix)}(.+)-(\d{{7}})", file.stem):
                pictures.setdefault(match[1], []).append(file)
        return pictures

    def commands(self) -> list[str]:
        """What was run, in order: the training, the figures, the samples."""
        trained = _read_record(self.home / _RECORD).get("commands", []) if (self.home / _RECORD).is_file() else []
        folders = [*self.reconstructions, *self.samples]
        lines = [*trained, *(figure.command for figure in self.figures), *(folder.command for folder in folders)]
        return list(dict.fromkeys(line for line in lines if line))


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs with names that tell them apart, as short as possible; all members of a joint run."""
    paths = [member for path in paths for member in member_paths(path)]
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise UserError("the same run is named twice; name each once")
    depth = next(depth for depth in range(1, 1000) if len({each[-depth:] for each in parts}) == len(parts))
    return [Run.read(path, "/".join(each[-depth:])) for path, each in zip(paths, parts)]


def _folders(parent: Path) -> list[SampleFolder]:
    """In the order in which they were written."""
    files = sorted(parent.glob(f"*/{_RECORD}"), key=lambda file: (file.stat().st_mtime_ns, file))
    return [SampleFolder(file.parent, _read_record(file)) for file in files]


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error}; delete its folder, and run its command again") from None
    if not isinstance(record, dict):
        raise UserError(f"{file} is no record of mmgen: delete its folder, and run its command again")
    return record

"""Runs as their folders tell of them: config, logs, figures, and what was sampled and reconstructed. Nothing here
samples, measures or opens a network.
"""

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.paradigms import Paradigm
from mmgen.store.members import find_member
from mmgen.store.rebuild import build_paradigm, build_tokenizer
from mmgen.store.results import RESULTS, Figure, read
from mmgen.store.store import Saved

RECORD = "record.json"
REAL = ".real"
"""Between the number and the ending of a file that holds the recording beside the sample of that number."""


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
        """The samples, in order."""
        return sorted(file for file in self.path.iterdir() if re.fullmatch(rf"\d+{re.escape(suffix)}", file.name))

    def recordings(self, suffix: str) -> list[Path | None]:
        """For each of `files` the recording beside it; None where there is none."""
        recordings = [file.with_suffix(f"{REAL}{suffix}") for file in self.files(suffix)]
        return [file if file.is_file() else None for file in recordings]

    def names(self, *keys: str) -> list[str]:
        """A name for each sample, from the first list of the record that has one: texts, classes, ..."""
        count = int(self.record.get("samples", 0))
        lists: list[list[Any]] = [self.record[key] for key in keys if isinstance(self.record.get(key), list)]
        lists = [each for each in lists if len(each) == count]
        named = [next((str(each[place]) for each in lists if each[place]), "") for place in range(count)]
        return [name or f"sample {number}" for number, name in enumerate(named)]


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder or an export.

    Args:
        path: the folder; RUN/MEMBER for a member of a joint run.
        name: of it among those of a page.
        kind: `tokenizer` or `generator`.
        config: content of config.yaml.
        record: what the data told the generator; empty for a tokenizer.
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
        saved = Saved.read(path)
        if saved.kind == "generator":
            spec = Facts.from_dict(saved.record).spec
            assert spec is not None
            modes = build_paradigm(saved.init_args, saved.where).modes()
        else:
            spec, modes = build_tokenizer(saved.init_args, saved.where).spec, {}
        parameters = sum(value.numel() for value in saved.state.values() if value.is_floating_point())
        figures = read(path) if (path / RESULTS).is_file() else []
        samples, made = _folders(path / "samples"), _folders(path / "reconstructions")
        return cls(
            path, name, saved.kind, saved.config, saved.record, spec, saved.step, parameters, modes, figures, samples,
            made,
        )  # fmt: skip

    @property
    def modality(self) -> str:
        """What it is of."""
        return self.spec.modality

    @property
    def class_names(self) -> list[str]:
        """The classes that it knows."""
        return Facts.from_dict(self.record).class_names if self.record else []

    @property
    def home(self) -> Path:
        """Where its logs are: of a member, the folder of the joint run."""
        member = find_member(self.path)
        return self.path if member is None else member.run

    @cached_property
    def logs(self) -> list[dict[str, float]]:
        """The rows of its CSV logs (a resumed run has several), each with what it holds, in the order of steps."""
        rows = []
        for file in self.home.glob("logs/csv/version_*/metrics.csv"):
            with file.open(newline="") as opened:
                rows += [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(opened)]
        return sorted(rows, key=lambda row: row["step"])

    def logged(self, metric: str) -> list[tuple[float, float]]:
        """(step, value) pairs of one metric of the logs."""
        return [(row["step"] + 1, row[metric]) for row in self.logs if metric in row]

    def previews(self) -> dict[str, list[Path]]:
        """Pictures that training wrote, by name, in the order of steps."""
        pictures: dict[str, list[Path]] = {}
        for file in sorted((self.home / "samples").glob("*-*.png")):
            if match := re.fullmatch(r"(.+)-(\d{7})", file.stem):
                pictures.setdefault(match[1], []).append(file)
        return pictures

    def commands(self) -> list[str]:
        """What was run, in order: the training, the figures, the samples."""
        trained = read_record(self.home / RECORD).get("commands", []) if (self.home / RECORD).is_file() else []
        folders = [*self.reconstructions, *self.samples]
        lines = [*trained, *(figure.command for figure in self.figures), *(folder.command for folder in folders)]
        return list(dict.fromkeys(line for line in lines if line))


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Runs with names that tell them apart, as short as possible."""
    if len({path.absolute() for path in paths}) < len(paths):
        raise UserError("the same run is named twice; name each once")
    parts = [path.absolute().parts for path in paths]
    depth = next(depth for depth in range(1, 1 + max(map(len, parts))) if _differ(each[-depth:] for each in parts))
    return [Run.read(path, "/".join(each[-depth:])) for path, each in zip(paths, parts)]


def _differ(parts: Iterable[tuple[str, ...]]) -> bool:
    listed = list(parts)
    return len(set(listed)) == len(listed)


def _folders(parent: Path) -> list[SampleFolder]:
    """In the order in which they were written."""
    files = sorted(parent.glob(f"*/{RECORD}"), key=lambda file: (file.stat().st_mtime_ns, file))
    return [SampleFolder(file.parent, read_record(file)) for file in files]


def read_record(file: Path) -> dict[str, Any]:
    """The content of a record.json. Raises UserError where it is damaged."""
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error}; delete its folder, and run its command again") from None
    if not isinstance(record, dict):
        raise UserError(f"{file} is no record of mmgen: delete its folder, and run its command again")
    return record

"""Tokens on disk: shards of safetensors, and one meta.json that describes them, written once and whole.

A shard holds `values` (n, ...), integers of the narrowest type that fits or float latents; `label` and `sample` (n,)
int64; and where the data has them `action` (n, T), `length` (n,) and `text` (n, L) int64, and `captions` (bytes,) uint8
(`mmgen.data.sources.captions.Captions`). meta.json holds each shard's checksum.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.json_file import read_json
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources.base import SplitName
from mmgen.data.sources.captions import check_lines
from mmgen.media.folders import whole_folder

META = "meta.json"
_FORMAT = 1
COLUMNS = ("label", "sample", "action", "length", "text")  # that a batch of raw samples may have beside x
CAPTIONS = "captions"
_AGAIN = "run mmgen tokenize again"


@dataclass(frozen=True)
class Shard:
    """One file of tokens in the folder, its number of samples and the SHA-256 of its bytes."""

    file: str
    split: str
    count: int
    sha256: str

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or self.split not in get_args(SplitName):
            raise ValueError(f"no shard is called {self.file!r} and of the split {self.split!r}")


@dataclass(frozen=True)
class Meta:
    """What meta.json says.

    Args:
        facts: of the tokens; `tokenizer_path` is relative to the folder.
        sample_shape: of the raw samples.
        source: the `source` section of a config that leads to the raw samples; None where there are none.
        shards: the files, in order.
    """

    facts: Facts
    sample_shape: tuple[int, ...]
    source: dict[str, Any] | None = None
    shards: list[Shard] = field(default_factory=list)

    @property
    def spec(self) -> TokenSpec:
        """The tokens."""
        assert self.facts.spec is not None
        return self.facts.spec

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what a shard holds."""
        facts = self.facts
        lengths = facts.sample_rate is not None or self.spec.fills_end
        optional = {"action": facts.action_names, "length": lengths, "text": facts.text}
        captions = (CAPTIONS,) * ("caption" in facts.conditions)
        return ("values", *(name for name in COLUMNS if optional.get(name, True)), *captions)

    def counts(self) -> dict[str, int]:
        """Samples of each split."""
        totals = dict.fromkeys(get_args(SplitName), 0)
        for shard in self.shards:
            totals[shard.split] += shard.count
        return totals

    def to_json(self) -> str:
        """The text of meta.json."""
        plain = {"format": _FORMAT, "counts": self.counts()} | asdict(self) | {"facts": self.facts.to_dict()}
        return json.dumps(plain, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Meta":
        """Raises UserError when meta.json is missing, damaged, or of another version."""
        if not (folder / META).is_file():
            raise UserError(f"{folder} holds no {META}, so it is no folder of tokens; mmgen tokenize writes one")
        try:
            plain = read_json(folder / META)
            if plain["format"] != _FORMAT:
                raise UserError(
                    f"{folder / META} has format {plain['format']}, not {_FORMAT} as this version reads: {_AGAIN}"
                )
            meta = cls(
                facts=Facts.from_dict(plain["facts"]),
                sample_shape=tuple(int(size) for size in plain["sample_shape"]),
                source=plain["source"],
                shards=[Shard(**shard) for shard in plain["shards"]],
            )
            if len({shard.file for shard in meta.shards}) < len(meta.shards):
                raise ValueError("it names a shard twice")
            return meta
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise UserError(f"{folder / META} is damaged ({type(error).__name__}: {error}): {_AGAIN}") from None


Columns = dict[str, Tensor]
"""What a shard holds of some samples, by name."""


def write_folder(out: Path, meta: Meta, splits: Mapping[SplitName, Iterable[Columns]]) -> Meta:
    """Writes the shards of each split and meta.json into a new folder; returns meta with its shards."""
    with whole_folder(out) as partial:
        for split, parts in splits.items():
            for number, columns in enumerate(parts):
                data = save({name: columns[name].contiguous() for name in meta.columns})
                file = f"{split}-{number:05d}.safetensors"
                (partial / file).write_bytes(data)
                meta.shards.append(Shard(file, split, len(columns["label"]), hashlib.sha256(data).hexdigest()))
        (partial / META).write_text(meta.to_json())
    return meta


def read_split(folder: Path, meta: Meta, split: SplitName) -> Columns:
    """All samples of a split, in order. Raises UserError where a shard is missing, truncated or damaged."""
    parts = []
    for shard in meta.shards:
        if shard.split == split:
            path = folder / shard.file
            try:
                data = path.read_bytes()
            except OSError as error:
                raise UserError(f"shard {path} cannot be read ({error.strerror}): {_AGAIN}") from None
            if hashlib.sha256(data).hexdigest() != shard.sha256:
                raise UserError(f"shard {path} is truncated or damaged (its checksum differs): {_AGAIN}")
            try:
                parts.append(_checked(load(data), meta, shard))
            except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
                raise UserError(f"shard {path} is none that {META} describes ({error}): {_AGAIN}") from None
    if not parts:
        raise UserError(f"{folder} holds no shard of the {split} split: {_AGAIN}")
    return {name: torch.cat([part[name] for part in parts]) for name in meta.columns}


def _checked(columns: Columns, meta: Meta, shard: Shard) -> Columns:
    """A shard's columns. Raises ValueError unless they are what meta says, KeyError where one is missing."""
    spec, count = meta.spec, shard.count
    more = {"residual": (spec.levels,), "continuous": (spec.size,)}.get(spec.kind, ())
    values = columns["values"]
    if values.shape != (count, spec.length, *more) or values.is_floating_point() is not (spec.kind == "continuous"):
        raise ValueError(f"its values are {values.dtype} of shape {tuple(values.shape)}")
    if spec.kind != "continuous" and count and not 0 <= int(values.min()) <= int(values.max()) < spec.alphabet:
        raise ValueError(f"its tokens are not all of 0 to {spec.alphabet - 1}")
    for name in meta.columns[1:]:
        column = columns[name]
        if name == CAPTIONS:
            check_lines(column, count)
        elif len(column) != count or column.dtype != torch.int64 or column.ndim != 1 + (name in ("action", "text")):
            raise ValueError(f"its column {name} is {column.dtype} of shape {tuple(column.shape)}")
    label, classes = columns["label"], len(meta.facts.class_names)
    if count and not -1 <= int(label.min()) <= int(label.max()) < max(1, classes):
        raise ValueError(f"its labels are not all of -1 to {classes - 1}")
    return columns


def storage_type(spec: TokenSpec) -> torch.dtype:
    """The narrowest type that holds every token."""
    if spec.kind == "continuous":
        return torch.float32
    kinds = (torch.uint8, torch.int16, torch.int32, torch.int64)
    return next(kind for kind in kinds if spec.alphabet - 1 <= torch.iinfo(kind).max)

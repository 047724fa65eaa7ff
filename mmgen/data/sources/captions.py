"""Captions of samples: any number for each, of which training draws one a sample and epoch."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.json_file import parse_json
from mmgen.core.vocabulary import FreeText

_NONE = len(b"[]\n")  # bytes of the line of a sample without a caption


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of n samples.

    They are JSON lines in one tensor, which loading processes share and files hold as it is: a list of a million
    strings would be copied into every loading process as soon as that counts its references.

    Args:
        lines: (bytes,) uint8, a line of UTF-8 a sample: a JSON list of its captions, empty where it has none.
    """

    lines: Tensor

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> "Captions":
        """From the captions of each sample, in order."""
        lines = (json.dumps(list(each), ensure_ascii=False, separators=(",", ":")) + "\n" for each in captions)
        return cls(_bytes(line.encode() for line in lines))

    @cached_property
    def _ends(self) -> Tensor:
        """(n + 1,) int64: where each line ends, 0 before the first."""
        return torch.cat([torch.zeros(1, dtype=torch.int64), 1 + (self.lines == ord("\n")).nonzero()[:, 0]])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def missing(self) -> int:
        """Samples without a caption."""
        return int((self._ends.diff() <= _NONE).sum())

    def all(self, place: int) -> list[str]:
        """Every caption of the sample at a place."""
        begin, end = self._ends[place : place + 2].tolist()
        return json.loads(self.lines[begin:end].numpy().tobytes())

    def pick(self, index: Tensor, chance: Tensor | None = None) -> list[str]:
        """One caption of each sample at index (b,) int64, "" where it has none: drawn by `chance` (b,) in [0, 1), or
        the first.
        """
        draws = [0.0] * len(index) if chance is None else chance.tolist()
        captions = [self.all(place) for place in index.tolist()]
        return [each[int(draw * len(each))] if each else "" for each, draw in zip(captions, draws, strict=True)]

    def choose(self, rows: Tensor) -> "Captions":
        """Those of some samples; rows (n,) bool, or (b,) int64 numbers of them."""
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
        data, begins, ends = self.lines.numpy().data, self._ends[rows].tolist(), self._ends[rows + 1].tolist()
        return Captions(_bytes(data[begin:end] for begin, end in zip(begins, ends)))

    def __add__(self, other: "Captions") -> "Captions":
        """Those of the samples of both, one after the other."""
        return Captions(torch.cat([self.lines, other.lines]))

    def flat(self) -> list[str]:
        """The captions of all samples, in order."""
        return [text for line in self.lines.numpy().tobytes().split(b"\n")[:-1] for text in json.loads(line)]

    def vocabulary(self) -> FreeText:
        """What characters captions are made of, and how long the longest is."""
        texts = self.flat()
        return FreeText("".join(sorted(set().union(*texts))), max(map(len, texts), default=0))


def read_by(texts: Iterable[str], alphabet: str | None, longest: int | None) -> tuple[Text, list[str | None]]:
    """What reads texts character by character; and each text as it is read, None where the alphabet lacks a character.

    An alphabet of None is that of the texts, in lower case; a `longest` of None the number of characters of the longest
    text.
    """
    reader = Text(" " if alphabet is None else alphabet, 1)
    normal = [reader.normal(text) for text in texts]
    alphabet = "".join(sorted(set("".join(normal)))) if alphabet is None else alphabet
    read = [text if set(text) <= set(alphabet) else None for text in normal]
    return Text(alphabet, longest or max((len(text) for text in read if text is not None), default=1)), read


def unreadable(text: str, reader: Text, longest: int) -> str | None:
    """Why a text cannot be encoded in `longest` characters; None where it can."""
    normal = reader.normal(text)
    if strange := sorted(set(normal) - set(reader.alphabet)):
        return f"{', '.join(map(repr, strange))} is not in data.source.alphabet"
    if len(normal) > longest:
        return f"{text[:40]!r} has {len(normal)} characters, more than {longest}"
    return None


def check_lines(lines: Tensor, count: int) -> None:
    """Raises ValueError unless these are the lines of so many samples, as files may hold them."""
    if lines.dtype != torch.uint8 or lines.ndim != 1:
        raise ValueError(f"its captions are {lines.dtype} of shape {tuple(lines.shape)}")
    text = lines.numpy().tobytes().decode().split("\n")
    rows = [parse_json(line) for line in text[:-1]]
    if text[-1] or len(rows) != count:
        raise ValueError(f"it has captions of {len(rows)} samples, and {count} samples")
    if not all(isinstance(row, list) and all(isinstance(each, str) for each in row) for row in rows):
        raise ValueError("its captions are no lists of texts")


def _bytes(parts: Iterable[bytes | memoryview]) -> Tensor:
    return torch.from_numpy(np.frombuffer(b"".join(parts), np.uint8).copy())

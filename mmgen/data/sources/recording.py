"""Recordings in the user's cache: sound that was made once, with what is said in it.

A folder a recording: `sound.pcm`, 16-bit samples of all clips in a row, read through a memory map, and `index.json`. It
is complete when it appears; one that is damaged, or was made otherwise than is asked for, is made again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import notice

_SOUND, _INDEX = "sound.pcm", "index.json"


class Take(NamedTuple):
    """One clip of a recording.

    Attributes:
        samples: (n,) int16.
        number: in the whole data set.
        voice: name of the voice.
        said: the sentence.
        phonemes: of it.
        words: the character of the sentence at which a word begins, and its second.
    """

    samples: np.ndarray
    number: int
    voice: str
    said: str
    phonemes: str
    words: list[tuple[int, float]]


@dataclass(frozen=True, eq=False)
class Recording:
    """Clips in a row.

    Args:
        sound: (n,) int16, all clips.
        ends: (clips,) int64, where each ends; it begins where the one before ends.
        numbers: (clips,) int64 numbers in the whole data set.
        voices: the name of each one's voice.
        said: each one's sentence.
        phonemes: of it.
        words: of each, [character, second] pairs of where words begin.
    """

    sound: np.ndarray
    ends: Tensor
    numbers: Tensor
    voices: list[str]
    said: list[str]
    phonemes: list[str]
    words: list[list[tuple[int, float]]]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Tensor:
        """(clips,) int64 samples."""
        return self.ends.diff(prepend=torch.zeros(1, dtype=torch.int64))

    def read(self, place: int, start: int, count: int) -> Tensor:
        """(1, up to count) float32 in [-1, 1]: a stretch of the clip at a place."""
        end = int(self.ends[place])
        begin = end - int(self.lengths[place]) + start
        return torch.from_numpy(self.sound[begin : min(begin + count, end)].astype(np.float32) / 32768)[None]


def cache_folder() -> Path:
    """Where this user's caches are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmgen"


def cached(folder: Path, settings: dict[str, Any], record: Callable[[], Iterable[Take]], told: str) -> Recording:
    """The recording that has been made with these settings, or is made now.

    Args:
        folder: of all recordings of this kind; each has a folder in it, named by a hash of its settings.
        settings: all that it depends on, in plain types.
        record: makes its clips.
        told: what is being made, in one line, before it is.

    Raises:
        UserError: it cannot be written; and what `record` raises.
    """
    plain = json.loads(json.dumps(settings))
    place = folder / hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
    if place.exists():
        try:
            return _read(place, plain)
        except (OSError, ValueError, KeyError, TypeError) as error:
            notice(f"recording {place} is damaged ({' '.join(str(error).split())}) and is made again")
    notice(told)
    try:
        _write(place, plain, record())
        return _read(place, plain)
    except OSError as error:
        raise UserError(
            f"recording {place} cannot be kept ({error.strerror or error}): make room, or set data.source.cache to"
            f" a folder"
            " that can be written to"
        ) from None


def _write(place: Path, settings: dict[str, Any], takes: Iterable[Take]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        clips, digest = [], hashlib.sha256()
        with (partial / _SOUND).open("wb") as file:
            for take in takes:
                data = take.samples.astype("<i2").tobytes()
                file.write(data)
                digest.update(data)
                clips.append([len(take.samples), *take[1:]])
        index = {"settings": settings, "sha256": digest.hexdigest(), "clips": clips}
        (partial / _INDEX).write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        try:
            partial.replace(place)
        except OSError:
            if not (place / _INDEX).exists():  # otherwise another process was as quick, and made the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read(place: Path, settings: dict[str, Any]) -> Recording:
    """Raises ValueError, KeyError, TypeError or OSError where it is not whole."""
    index = json.loads((place / _INDEX).read_text(encoding="utf-8"))
    if index["settings"] != settings:
        raise ValueError("it was made with other settings")
    with (place / _SOUND).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != index["sha256"]:
            raise ValueError("the checksum of its sound differs")
    lengths, numbers, voices, said, phonemes, words = (list(column) for column in zip(*index["clips"], strict=True))
    sound = np.memmap(place / _SOUND, dtype="<i2", mode="r")
    ends = torch.tensor(lengths).cumsum(0)
    if int(ends[-1]) != len(sound):
        raise ValueError("its index speaks of another length")
    return Recording(sound, ends, torch.tensor(numbers), voices, said, phonemes, words)

"""Recordings in the user's cache: sound that was made once, with what is said in it.

A recording is a file of safetensors: the 16-bit `sound` of all clips in a row, read through a memory map, and its
`index` as JSON in the metadata. One that is damaged, or was made with other settings, is made again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import notice
from mmgen.media.folders import write_whole


class Clip(NamedTuple):
    """One clip of a recording.

    Attributes:
        sound: (n,) int16.
        number: in the whole data set.
        voice: name of the voice.
        sentence: that is spoken.
        phonemes: of it.
        words: the character of the sentence at which each word begins, and its second.
    """

    sound: Tensor
    number: int
    voice: str
    sentence: str
    phonemes: str
    words: list[tuple[int, float]]


def cached(folder: Path, settings: dict[str, Any], record: Callable[[], Iterable[Clip]], text: str) -> list[Clip]:
    """The recording in a folder that was made with these settings, in plain types, or is made now by `record`, after
    `text` is logged. Raises UserError where it cannot be written.
    """
    plain = json.dumps(settings, sort_keys=True)
    file = folder / f"{hashlib.sha256(plain.encode()).hexdigest()[:16]}.safetensors"
    if file.exists():
        try:
            return _read(file, plain)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            notice(f"recording {file} is damaged ({' '.join(str(error).split())}) and is made again")
    notice(text)
    try:
        clips = list(record())
        sound = torch.cat([clip.sound for clip in clips])
        index = json.dumps([[len(clip.sound), *clip[1:]] for clip in clips], ensure_ascii=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, save({"sound": sound}, {"settings": plain, "sha256": _digest(sound, index), "index": index}))
        return _read(file, plain)
    except OSError as error:
        raise UserError(
            f"recording {file} cannot be kept ({error.strerror or error}): make room, or set data.source.cache to a"
            " folder that can be written to"
        ) from None


def _digest(sound: Tensor, index: str) -> str:
    digest = hashlib.sha256(sound.numpy().data)
    digest.update(index.encode())
    return digest.hexdigest()


def _read(file: Path, settings: str) -> list[Clip]:
    """Raises ValueError, KeyError, TypeError, OSError or SafetensorError where it is not whole."""
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata() or {}
    if about["settings"] != settings:
        raise ValueError("it was made with other settings")
    sound = load_file(file)["sound"]
    if _digest(sound, about["index"]) != about["sha256"]:
        raise ValueError("its checksum differs")
    index = json.loads(about["index"])
    return [Clip(part, *row[1:]) for part, row in zip(sound.split([row[0] for row in index]), index, strict=True)]

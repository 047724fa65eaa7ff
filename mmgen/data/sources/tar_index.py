"""Where samples lie in .tar shards as WebDataset writes them: found once by walking through the shards, then kept.

A sample is a run of files of one key: `000017.jpg` and `000017.cls` (a number) or `000017.json` (with `label`, `cls` or
`class`), and `000017.txt` (a caption a line) or `000017.json` (with `caption` or `text`). The key ends at the first dot
of a file's name.
"""

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.caption_files import KEYS, clean_captions, decode
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.scan import IMAGES, notice

INDEX = ".mmgen-index.safetensors"
_BLOCK = 512  # bytes of a tar's block; two of zeros end it
_LABELS = ("label", "cls", "class")


class Place(NamedTuple):
    """Of one sample: the image's name in the shard, its first byte and their number, the label, and the captions."""

    name: str
    offset: int
    size: int
    label: int
    captions: list[str]


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The samples of a folder of shards, in order.

    Args:
        folder: of the shards.
        shards: their names, sorted.
        names: (n,) bytes, the image's name in its shard.
        captions: of each.
        shard: (n,) int64, which shard.
        offset: (n,) int64, the image's first byte in it.
        size: (n,) int64 bytes.
        label: (n,) int64, `NO_CLASS` where a sample has none.
    """

    folder: Path
    shards: list[str]
    names: np.ndarray
    captions: Captions
    shard: Tensor
    offset: Tensor
    size: Tensor
    label: Tensor


def index_folder(folder: Path, skip_bad: bool) -> TarIndex:
    """The index that lies beside the shards, or where they have changed a new one, kept if it can be written.

    Args:
        folder: of the shards.
        skip_bad: leave out shards that cannot be read whole, and tell which.

    Raises:
        UserError: no shards, one that is damaged, or no images in any.
    """
    shards = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".tar") and entry.is_file())
    if not shards:
        packed = next((each.name for each in folder.glob("*.tar.*")), None)
        raise UserError(f"{folder} holds no .tar shards{f'; unpack {packed} and the like' if packed else ''}")
    about = json.dumps([[name, *_state(folder / name), skip_bad] for name in shards])
    found = _read(folder, about)
    if found is not None:
        return found
    with ThreadPoolExecutor(8) as pool:  # reading headers waits for the disk
        walked = list(pool.map(_walk, (folder / name for name in shards)))
    bad = [each for each in walked if isinstance(each, UserError)]
    if bad and not skip_bad:
        raise UserError(
            f"{bad[0]}; write it again, or set data.source.bad_shards to skip to do without {len(bad)} shard(s)"
        )
    for error in bad:
        notice(f"{error}; it is left out")
    index = _joined(folder, shards, [[] if isinstance(each, UserError) else each for each in walked])
    if not len(index.names):
        raise UserError(f"the shards of {folder} hold no images: a sample is KEY.jpg or the like, and KEY.cls")
    _write(index, about)
    return index


def _joined(folder: Path, shards: list[str], walked: list[list[Place]]) -> TarIndex:
    places = [place for part in walked for place in part]
    rows = [(number, *place[1:4]) for number, part in enumerate(walked) for place in part]
    columns = (column.clone() for column in torch.tensor(rows, dtype=torch.int64).view(-1, 4).unbind(1))
    names = np.array([os.fsencode(place.name) for place in places], np.bytes_)
    return TarIndex(folder, shards, names, Captions.of(place.captions for place in places), *columns)


def _walk(path: Path) -> list[Place] | UserError:
    """The samples of a shard, or what is wrong with it."""
    try:
        with tarfile.open(path, "r:") as tar:
            places = list(_samples(tar, path))
            end = tar.offset
        with path.open("rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("it does not end as a tar does")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        return UserError(f"shard {path} is truncated or damaged ({' '.join(str(error).split())})")
    return places


def _samples(tar: tarfile.TarFile, path: Path) -> Iterator[Place]:
    key, image, label, captions = None, None, NO_CLASS, list[str]()
    for member in tar:
        if not member.isfile() or os.path.basename(member.name).startswith("."):
            continue
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        if (folder, stem) != key:
            if image is not None:
                yield Place(image.name, image.offset_data, image.size, label, list(dict.fromkeys(captions)))
            key, image, label, captions = (folder, stem), None, NO_CLASS, []
        suffix = suffix.lower()
        if f".{suffix}" in IMAGES.suffixes:
            image = member
        elif suffix in ("cls", "json", "txt"):
            file = tar.extractfile(member)
            text = decode(b"" if file is None else file.read(), member.name)
            try:
                if suffix == "txt":
                    captions += clean_captions(text.splitlines())
                    continue
                content: Any = json.loads(text) if suffix == "json" else {"cls": int(text)}
                label = _label(content, label)
                captions += clean_captions(next((content[name] for name in KEYS if name in content), None))
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(f"{member.name}: {' '.join(str(error).split())}") from None
    if image is not None:
        yield Place(image.name, image.offset_data, image.size, label, list(dict.fromkeys(captions)))


def _label(content: Any, before: int) -> int:
    """The number that a label file gives; `before` where it gives none."""
    found = next((content[name] for name in _LABELS if name in content), before)
    if isinstance(found, bool) or not isinstance(found, int) or found < NO_CLASS:
        raise ValueError(f"the label {found!r} is no number from 0 on")
    return found


def _state(path: Path) -> tuple[int, int]:
    """By which a shard is known to be the same."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(folder: Path, about: str) -> TarIndex | None:
    """The kept index, if it is of these shards."""
    try:
        with safe_open(folder / INDEX, framework="pt") as file:
            if (file.metadata() or {}).get("shards") != about:
                return None
            columns = [file.get_tensor(name) for name in ("shard", "offset", "size", "label")]
            letters, captions = file.get_tensor("names").numpy(), Captions(file.get_tensor("captions"))
    except (OSError, SafetensorError):
        return None
    names = letters.view(f"S{letters.shape[1]}")[:, 0]
    return TarIndex(folder, [each[0] for each in json.loads(about)], names, captions, *columns)


def _write(index: TarIndex, about: str) -> None:
    """Kept beside the shards; whole, whoever else writes it at the same time. Not where the folder is read-only."""
    letters = torch.from_numpy(index.names.view(np.uint8).reshape(len(index.names), -1).copy())
    columns = {"shard": index.shard, "offset": index.offset, "size": index.size, "label": index.label}
    data = save({"names": letters, "captions": index.captions.lines, **columns}, metadata={"shards": about})
    with suppress(OSError):
        handle, partial = tempfile.mkstemp(prefix=INDEX, dir=index.folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(partial, index.folder / INDEX)

"""Where samples lie in .tar shards as WebDataset writes them: the shards are walked through once.

A sample is a run of files of one key: `000017.jpg` and `000017.cls` (a number) or `000017.json` (with `label`, `cls` or
`class`), and `000017.txt` (a caption a line) or `000017.json` (with `caption` or `text`). The key ends at the first dot
of a file's name.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mmgen.core.errors import UserError
from mmgen.core.text_file import decode_text, split_lines
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.caption_files import KEYS, clean_captions
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import IMAGES, notice
from mmgen.media.folders import write_whole

INDEX = ".mmgen-index.safetensors"
_FORMAT = 2  # of the index
_BLOCK = 512  # bytes of a tar's block; two of zeros end it
_LABELS = ("label", "cls", "class")
_COLUMNS = ("shard", "offset", "size")


class Place(NamedTuple):
    """Of one sample: the image's name in the shard, its first byte and their number, the label, and the captions."""

    name: str
    offset: int
    size: int
    label: int
    captions: list[str]


def index_folder(folder: Path, skip_bad: bool, first: int = 0) -> Listing:
    """The samples of a folder of shards, in order: names are SHARD/NAME; columns are the `shard`'s number, and the
    image's first byte in it (`offset`) and `size` in bytes. The index is read from a file in the folder, or where the
    shards have changed made again, and kept if it can be written.

    Args:
        folder: of the shards.
        skip_bad: leave out shards that cannot be read whole, and report which.
        first: number of the first sample in the whole data set.

    Raises:
        UserError: no shards, one that is damaged, or no images in any.
    """
    shards = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".tar") and entry.is_file())
    if not shards:
        packed = next((each.name for each in folder.glob("*.tar.*")), None)
        raise UserError(f"{folder} holds no .tar shards{f'; unpack {packed} and the like' if packed else ''}")
    states = [(name, (folder / name).stat()) for name in shards]
    about = json.dumps([_FORMAT, skip_bad, [[name, each.st_size, each.st_mtime_ns] for name, each in states]])
    listing = _read(folder, about, first)
    if listing is not None:
        return listing
    with ThreadPoolExecutor(8) as pool:  # reading headers waits for the disk
        walked = list(pool.map(_walk, (folder / name for name in shards)))
    bad = [each for each in walked if isinstance(each, UserError)]
    if bad and not skip_bad:
        raise UserError(
            f"{bad[0]}; write it again, or set data.source.bad_shards to skip to do without {len(bad)} shard(s)"
        )
    for error in bad:
        notice(f"{error}; it is left out")
    places = [(n, place) for n, each in enumerate(walked) if not isinstance(each, UserError) for place in each]
    if not places:
        raise UserError(f"the shards of {folder} hold no images: a sample is KEY.jpg or the like, and KEY.cls")
    columns = torch.tensor([(shard, place.offset, place.size) for shard, place in places], dtype=torch.int64)
    listing = Listing.of(
        folder,
        [f"{shards[shard]}/{place.name}" for shard, place in places],
        [place.label for _, place in places],
        first,
        captions=Captions.of(place.captions for _, place in places),
        more={name: column.clone() for name, column in zip(_COLUMNS, columns.unbind(1))},
    )
    _write(listing, about)
    return listing


def _walk(path: Path) -> list[Place] | UserError:
    """The samples of a shard, or what is wrong with it."""
    try:
        with tarfile.open(path, "r:") as tar:
            places = list(_samples(tar))
            end = tar.offset
        with path.open("rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("it does not end as a tar does")
    except (UserError, tarfile.TarError, OSError, ValueError, EOFError) as error:
        return UserError(f"shard {path} is truncated or damaged ({' '.join(str(error).split())})")
    return places


def _samples(tar: tarfile.TarFile) -> Iterator[Place]:
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
            text = decode_text(b"" if file is None else file.read(), member.name)
            try:
                if suffix == "txt":
                    captions += clean_captions(split_lines(text))
                    continue
                content: Any = json.loads(text) if suffix == "json" else {"cls": int(text)}
                label = next((content[name] for name in _LABELS if name in content), label)
                if isinstance(label, bool) or not isinstance(label, int) or label < NO_CLASS:
                    raise ValueError(f"the label {label!r} is no number from 0 on")
                captions += clean_captions(next((content[name] for name in KEYS if name in content), None))
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(f"{member.name}: {' '.join(str(error).split())}") from None
    if image is not None:
        yield Place(image.name, image.offset_data, image.size, label, list(dict.fromkeys(captions)))


def _read(folder: Path, about: str, first: int) -> Listing | None:
    """The index in the folder, if it is of these shards."""
    try:
        with safe_open(folder / INDEX, framework="pt") as file:
            if (file.metadata() or {}).get("shards") != about:
                return None
            columns = {name: file.get_tensor(name) for name in ("label", *_COLUMNS)}
            letters, captions = file.get_tensor("names").numpy(), Captions(file.get_tensor("captions"))
    except (OSError, SafetensorError):
        return None
    names, label = letters.view(f"S{letters.shape[1]}")[:, 0], columns.pop("label")
    return Listing(folder, names, label, first + torch.arange(len(names)), captions, columns)


def _write(listing: Listing, about: str) -> None:
    """Into the folder, unless that is read-only."""
    assert listing.captions is not None
    letters = torch.from_numpy(listing.names.view(np.uint8).reshape(len(listing), -1).copy())
    columns = {"names": letters, "label": listing.labels, "captions": listing.captions.lines, **listing.more}
    with suppress(OSError):
        write_whole(listing.root / INDEX, save(columns, metadata={"shards": about}))

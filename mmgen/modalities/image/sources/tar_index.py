"""The index of a folder of .tar shards: where its samples lie, found once and kept in the folder."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.captions import Captions, check_lines
from mmgen.data.sources.listing import Listing
from mmgen.data.sources.scan import Kind, notice
from mmgen.data.sources.search import search_folder
from mmgen.media.folders import write_whole
from mmgen.modalities.image.sources.tar_samples import (
    HIGHEST_LABEL,
    LABEL_ALONE,
    LARGEST_IMAGE,
    Place,
    Remarks,
    find_samples,
)

INDEX = ".mmgen-index.safetensors"
SHARDS = Kind("shard", frozenset((".tar",)))
_FORMAT = 3  # of the index
_COMPANIONS = (".txt", ".json", ".csv", ".md")  # endings of files that lie beside shards
_COLUMNS = ("shard", "offset", "size")


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
    contents = search_folder(folder, SHARDS, deep=False, companions=_COMPANIONS)
    contents.left_aside.report(folder)
    shards = contents.names
    if not shards:
        packed = next((name for name in contents.left_aside.examples.values() if ".t" in name), None)
        raise UserError(f"{folder} holds no .tar shards{f'; unpack {packed} and the like' if packed else ''}")
    states = [(name, (folder / name).stat()) for name in shards]
    about = json.dumps([_FORMAT, skip_bad, [[name, each.st_size, each.st_mtime_ns] for name, each in states]])
    listing = _read(folder, about, shards, [each.st_size for _, each in states], first)
    if listing is not None:
        return listing

    with ThreadPoolExecutor(8) as pool:  # reading headers waits for the disk
        results = list(pool.map(_walk, (folder / name for name in shards)))
    bad = [each for each, _ in results if isinstance(each, UserError)]
    if bad and not skip_bad:
        raise UserError(
            f"{bad[0]}; write it again, or set data.source.bad_shards to skip to do without {len(bad)} shard(s)"
        )
    remarks = Remarks.of(each for _, each in results)
    for error in bad:
        remarks.left_aside.add("damaged shard(s)", str(error))
    remarks.report(folder)
    places = [(n, place) for n, (each, _) in enumerate(results) if not isinstance(each, UserError) for place in each]
    if not places:
        raise UserError(f"the shards of {folder} hold no images: a sample is KEY.jpg or the like, and KEY.cls")
    alone = remarks.left_aside.counts[LABEL_ALONE]
    if alone and all(place.label == NO_CLASS for _, place in places):
        example = remarks.left_aside.examples[LABEL_ALONE]
        raise UserError(
            f"{folder}: no image has a label, and {alone} label(s) have no image, such as {example}: a sample's image"
            " and label differ only in what follows the first dot of their names, and lie in one shard"
        )
    columns = torch.tensor([(shard, place.offset, place.size) for shard, place in places], dtype=torch.int64)
    listing = Listing.of(
        folder,
        [f"{shards[shard]}/{place.name}" for shard, place in places],
        [place.label for _, place in places],
        first,
        captions=Captions.of(place.captions for _, place in places),
        more={name: column.clone() for name, column in zip(_COLUMNS, columns.unbind(1))},
    )
    _write(listing, about, remarks)
    return listing


def _walk(path: Path) -> tuple[list[Place] | UserError, Remarks]:
    """The samples of a shard, or what is wrong with it."""
    remarks = Remarks()
    try:
        return find_samples(path, remarks), remarks
    except UserError as error:
        return error, Remarks()


def _read(folder: Path, about: str, shards: Sequence[str], sizes: Sequence[int], first: int) -> Listing | None:
    """The index in the folder, if it is of these shards."""
    file = folder / INDEX
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("shards") != about:
                return None
            columns = {name: opened.get_tensor(name) for name in ("names", "label", "captions", *_COLUMNS)}
        remarks = Remarks.from_json(metadata["remarks"])
        letters = _check(columns, shards, sizes)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        notice(f"{file} is damaged ({' '.join(str(error).split())}) and is made again")
        return None
    remarks.report(folder)
    more = {name: columns[name] for name in _COLUMNS}
    numbers = first + torch.arange(len(letters))
    return Listing(folder, letters, columns["label"], numbers, Captions(columns["captions"]), more)


def _check(columns: dict[str, Tensor], shards: Sequence[str], sizes: Sequence[int]) -> np.ndarray:
    """The names of samples, (n,) bytes. Raises ValueError unless every sample lies in its shard: the index may be from
    somebody else.
    """
    names, label, (shard, offset, size) = columns["names"], columns["label"], (columns[name] for name in _COLUMNS)
    count = len(names)
    if names.dtype != torch.uint8 or names.ndim != 2 or not names.shape[1]:
        raise ValueError(f"its names are {names.dtype} of shape {tuple(names.shape)}")
    for column in (label, shard, offset, size):
        if column.dtype != torch.int64 or column.shape != (count,):
            raise ValueError(f"a column is {column.dtype} of shape {tuple(column.shape)}, and it names {count} samples")
    if not bool(((label >= NO_CLASS) & (label <= HIGHEST_LABEL)).all()):
        raise ValueError("a label is out of range")
    if not bool(((shard >= 0) & (shard < len(shards))).all()):
        raise ValueError("a shard is none of the folder's")
    inside = (offset >= 0) & (size >= 0) & (size <= LARGEST_IMAGE) & (offset <= torch.tensor(sizes)[shard] - size)
    if not bool(inside.all()):
        raise ValueError("a sample does not lie in its shard")
    letters = names.numpy().view(f"S{names.shape[1]}")[:, 0]
    owners = np.array([os.fsencode(f"{name}/") for name in shards])[shard.numpy()]
    if not bool(np.char.startswith(letters, owners).all()):
        raise ValueError("a sample has the name of another shard")
    check_lines(columns["captions"], count)
    return letters


def _write(listing: Listing, about: str, remarks: Remarks) -> None:
    """Into the folder, unless that is read-only."""
    assert listing.captions is not None
    letters = torch.from_numpy(listing.names.view(np.uint8).reshape(len(listing), -1).copy())
    columns = {"names": letters, "label": listing.labels, "captions": listing.captions.lines, **listing.more}
    with suppress(OSError):
        write_whole(listing.root / INDEX, save(columns, metadata={"shards": about, "remarks": remarks.to_json()}))

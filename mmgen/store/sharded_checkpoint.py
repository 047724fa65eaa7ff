"""Checkpoints in parts, a file a process: a folder that loads on any number of processes, or as one checkpoint.

Tensors are in safetensors, as torch's distributed checkpoints write them for Hugging Face; all else is in `rest.pt`,
which is read with `weights_only`, so that nothing in the folder can run code. `parts.json`, written last, holds the
size and the SHA-256 of every other file.
"""

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.media.torch_file import Unsound, read_torch_file

PARTS = "parts.json"
REST = "rest.pt"
MODELS = ("state_dict", "current_model_state")  # the second where an average is kept, which then is the first
OPTIMIZER = "optimizer"

Seals = dict[str, tuple[int, str]]
"""File -> its bytes and their SHA-256."""


def seals(folder: Path, names: Iterable[str]) -> Seals:
    """Of some files of a folder."""
    return {name: ((folder / name).stat().st_size, _sha256(folder / name)) for name in names}


def check_parts(folder: Path) -> list[str]:
    """The names of a folder's files, after a quick check that they exist and have the right sizes.

    Raises:
        Unsound: one is missing or truncated, or the folder is no checkpoint.
    """
    try:
        sealed = read_json(folder / PARTS)
        sizes = {str(name): int(size) for name, (size, _) in sealed.items()}
    except (UserError, ValueError, TypeError, AttributeError) as error:
        raise Unsound(f"has no sound {PARTS} ({type(error).__name__}), so it was not written whole") from None
    for name, size in sizes.items():
        if "/" in name or not (folder / name).is_file():
            raise Unsound(f"lacks its part {name}")
        if (folder / name).stat().st_size != size:
            raise Unsound(f"has a truncated part {name}")
    return list(sizes)


def check_hashes(folder: Path, names: Iterable[str]) -> None:
    """Read some parts whole. Raises Unsound for the first that has changed."""
    sealed = read_json(folder / PARTS)
    for name in names:
        if sealed[name][1] != _sha256(folder / name):
            raise Unsound(f"has a corrupt part {name} (its hash differs from the one it was written with)")


def read_parts(folder: Path) -> dict[str, Any]:
    """A folder as the checkpoint that one process would have written, on the CPU.

    Raises:
        Unsound: a part is missing, truncated or corrupt.
    """
    check_hashes(folder, check_parts(folder))
    checkpoint = read_torch_file(folder / REST)
    try:
        stored = HuggingFaceStorageReader(str(folder))
        sizes = stored.read_metadata().state_dict_metadata
        tensors = {name: torch.empty(each.size, dtype=each.properties.dtype) for name, each in sizes.items()}  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.distributed is disabled.*")  # as is meant
            dcp.load(tensors, storage_reader=stored, no_dist=True)
        trees = unflatten(tensors)
        for name in MODELS:
            if name in trees:
                checkpoint[name] = trees[name]
        groups = checkpoint.pop(OPTIMIZER, None)
        if groups is not None:
            checkpoint["optimizer_states"] = [_numbered(trees.get(OPTIMIZER, {}), groups)]
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise Unsound(f"is corrupt ({' '.join(str(error).split())})") from None
    return checkpoint


def flatten(trees: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """{tree: {name: tensor}} -> {tree/name: tensor}."""
    return {f"{tree}/{name}": each for tree, named in trees.items() for name, each in named.items()}


def unflatten(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Inverse of `flatten`."""
    trees: dict[str, dict[str, Tensor]] = {}
    for name, each in tensors.items():
        tree, _, inner = name.partition("/")
        trees.setdefault(tree, {})[inner] = each
    return trees


def _numbered(moments: dict[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """An optimiser's state as `state_dict()` of one process has it: parameters by number, in order of the groups.

    Args:
        moments: `NAME/exp_avg` and the like.
        groups: settings, with the names of their parameters.
    """
    order = {name: number for number, name in enumerate(name for group in groups for name in group["params"])}
    state: dict[int, dict[str, Tensor]] = {}
    for name, each in moments.items():
        parameter, _, kind = name.rpartition("/")
        state.setdefault(order[parameter], {})[kind] = each
    return {
        "state": state,
        "param_groups": [group | {"params": [order[name] for name in group["params"]]} for group in groups],
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

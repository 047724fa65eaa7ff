"""Where the vectors of a text come from: a frozen text encoder of transformers, or a file of stored features."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.arrays import read_arrays
from mmgen.core.errors import UserError
from mmgen.core.json_file import parse_json

NO_TOKEN = -1  # behind the end of a text; a text of nothing else is none


class TextSource(ABC):
    """Vectors of texts, in two steps: numbers that travel in batches, and vectors of them.

    Attributes:
        size: numbers of a vector.
        length: vectors of a text at most.
        ids: numbers of a text in a batch.
        digest: of all that the vectors follow from, a whole number.
    """

    size: int
    length: int
    ids: int
    digest: int

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, ids) int64, `NO_TOKEN` behind the end of a text. Raises UserError for a text that it has not."""

    @abstractmethod
    def vectors(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Of ids (B, ids): (B, length, size), and which of them are of the text, (B, length) bool."""


class FrozenEncoder(TextSource):
    """A text encoder of transformers.

    Args:
        path: folder with its config, its weights (safetensors) and its tokenizer. Nothing is downloaded.
        length: tokens of a text; longer ones are cut.

    Raises:
        UserError: there is none.
    """

    def __init__(self, path: Path, length: int) -> None:
        self.tokenizer, self.network = _load(path)
        self.length = self.ids = length
        self.size = int(self.network.config.hidden_size)
        self.digest = _digest(self.network)

    def encode(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        )
        return torch.where(tokens["attention_mask"].bool(), tokens["input_ids"], NO_TOKEN)

    @torch.no_grad()
    def vectors(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        real = ids != NO_TOKEN
        seen = real.clone()
        seen[:, 0] = True  # an attention over nothing is not defined
        self.network.to(ids.device)
        with torch.autocast(ids.device.type, enabled=False):
            out = self.network(input_ids=ids.clamp_min(0), attention_mask=seen.long())
        return out.last_hidden_state, real


class StoredFeatures(TextSource):
    """Vectors that were computed before, by text.

    Args:
        path: `.npz` with `captions` (n,) strings, `features` (n, L, C) and optionally `mask` (n, L) bool; or
            `.safetensors` with `features` and `mask`, and the captions as a JSON list in its metadata.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """

    ids = 1

    def __init__(self, path: Path) -> None:
        captions, features, mask = _read(path)
        if features.dim() != 3 or mask.shape != features.shape[:2] or len(captions) != len(features):
            raise UserError(f"{path}: features must be (n, L, C), and mask (n, L), of the {len(captions)} captions")
        self.path, self.features, self.mask = path, features, mask
        self.number = {caption: number for number, caption in enumerate(captions)}
        if len(self.number) < len(captions):
            twice = next(each for number, each in enumerate(captions) if self.number[each] != number)
            raise UserError(f"{path} has features of {twice!r:.60} twice")
        _, self.length, self.size = features.shape
        self.digest = _hash([json.dumps(captions).encode(), features.numpy().tobytes(), mask.numpy().tobytes()])

    def encode(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            if text not in self.number:
                raise UserError(f"text {text!r} is not among the {len(self.number)} captions of {self.path}")
        return torch.tensor([[self.number[text]] for text in texts])

    def vectors(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        rows = ids[:, 0].cpu()
        mask = self.mask[rows] & (rows != NO_TOKEN)[:, None]
        return self.features[rows].to(ids.device), mask.to(ids.device)


def text_source(path: str, length: int) -> TextSource:
    """A text encoder, of `length` tokens a text, in a folder, or stored features in a file. Raises UserError for
    neither.
    """
    if Path(path).is_dir():
        return FrozenEncoder(Path(path), length)
    if Path(path).is_file():
        return StoredFeatures(Path(path))
    raise UserError(f"encoder {path} does not exist: name a folder of a text encoder of transformers, or a file")


def _load(path: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise UserError("a text encoder needs the package transformers: pip install 'mmgen[text]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        network = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"encoder {path} is no text encoder of transformers: {' '.join(str(error).split())}") from None
    if network.config.is_encoder_decoder:
        network = network.get_encoder()
    network = getattr(network, "text_model", network)  # of an encoder of images and texts
    return tokenizer, network.eval().requires_grad_(False)


def _read(path: Path) -> tuple[list[str], Tensor, Tensor]:
    """Captions, features and mask."""
    try:
        if path.suffix == ".npz":
            arrays = read_arrays(path, ["captions", "features"], optional=["mask"])
            captions = [str(each) for each in arrays["captions"]]
            features = torch.from_numpy(arrays["features"]).float()
            mask = torch.from_numpy(arrays["mask"]).bool() if "mask" in arrays else None
        else:
            from safetensors import safe_open

            with safe_open(str(path), framework="pt") as file:
                captions = parse_json((file.metadata() or {})["captions"])
                features = file.get_tensor("features").float()
                mask = file.get_tensor("mask").bool() if "mask" in file.keys() else None  # noqa: SIM118  # no dict
    except Exception as error:  # whatever a damaged file makes its reader raise
        raise UserError(f"{path} cannot be read as features of texts: {' '.join(str(error).split())}") from None
    return captions, features, torch.ones(features.shape[:2], dtype=torch.bool) if mask is None else mask


def _digest(network: Any) -> int:
    state = sorted(network.state_dict().items())
    return _hash([name.encode() + each.float().cpu().numpy().tobytes() for name, each in state])


def _hash(parts: Sequence[bytes]) -> int:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return int.from_bytes(whole.digest()[:7], "big")

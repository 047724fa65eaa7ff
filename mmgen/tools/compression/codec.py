"""Tokens to a compressed file and back, bit for bit."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.store.store import Loaded, weights_hash
from mmgen.tools.compression.coder import Decoder, Encoder
from mmgen.tools.compression.container import LARGEST, LARGEST_BATCH, Container
from mmgen.tools.compression.prior import Prior

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Compressed:
    """A compressed file, and its figures.

    Args:
        data: the file.
        images: how many are in it.
        code_bytes: of the tokens, without the header.
        model_bits: the cross-entropy of the tokens under the prior, the least that a code takes on average.
        raw_bits: of the tokens uncompressed.
    """

    data: bytes
    images: int
    code_bytes: int
    model_bits: float
    raw_bits: float


def compress(
    loaded: Loaded,
    tokens: Tensor,
    labels: Tensor | None = None,
    mode: str | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Compressed:
    """Code tokens under an autoregressive mode of a generator, all images with one coder.

    Args:
        loaded: a generator; everything runs on its device.
        tokens: (B, N) int64 of the generator's spec.
        labels: (B,) int64 class of each image, -1 for none (the default), stored in the file.
        mode: name of an autoregressive mode; may be None where there is only one.
        batch: images coded side by side, also stored, so that decoding runs in the same shapes.
        progress: called with the number of images that are done.

    Raises:
        UserError: no such mode, no tokens, too many of them, or ones or a label that the generator does not know.
    """
    prior = Prior(loaded, mode)
    labels = torch.full((len(tokens),), -1) if labels is None else labels
    _check(loaded, tokens, labels, batch)
    encoder, device = Encoder(), loaded.generator.device
    for start in range(0, len(tokens), batch):
        rows = tokens[start : start + batch].to(device)

        def write(position: int, probs: Tensor, rows: Tensor = rows) -> Tensor:
            encoder.put(probs, prior.head.split(rows[:, position]))
            return rows[:, position]

        prior.walk(labels[start : start + batch].to(device), write)
        if progress is not None:
            progress(start + len(rows))
    code, spec = encoder.finish(), loaded.spec
    container = Container(
        weights_hash(loaded.generator), _tokenizer_hash(loaded), prior.mode, spec.kind, spec.size, spec.grid,
        batch, tuple(labels.tolist()), _checksum(tokens), code,
    )  # fmt: skip
    raw = len(tokens) * spec.bits_per_sample
    return Compressed(container.to_bytes(), len(tokens), len(code), encoder.bits, raw)


def decompress(
    loaded: Loaded, container: Container, name: str = "the stream", progress: Progress | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens (B, N) int64 and labels (B,) int64, on the CPU.

    Args:
        loaded: the very generator that compressed them.
        container: from `mmgen.tools.compression.read_container`.
        name: of the file, for errors.
        progress: called with the number of images that are done.

    Raises:
        UserError: it is of another model, or this machine computes the model's probabilities otherwise.
    """
    _check_origin(loaded, container, name)
    prior, decoder = Prior(loaded, container.mode), Decoder(container.code)
    labels, parts = torch.tensor(container.labels), []

    def read(_: int, probs: Tensor) -> Tensor:
        return prior.head.join(decoder.take(probs))

    try:
        for rows in labels.split(container.batch):
            parts.append(prior.walk(rows.to(loaded.generator.device), read).cpu())
            if progress is not None:
                progress(sum(map(len, parts)))
        tokens = torch.cat(parts)
        decoded = _checksum(tokens) == container.checksum
    except ValueError:
        decoded = False
    if not decoded:
        raise UserError(
            f"{name} cannot be decoded here: it is whole and of this model, but this machine computes the model's"
            " probabilities otherwise than the one that compressed it; decompress it there (or on that --device)"
        )
    return tokens, labels


def _check(loaded: Loaded, tokens: Tensor, labels: Tensor, batch: int) -> None:
    spec, classes = loaded.spec, len(loaded.generator.names("class"))
    if not len(tokens) or len(tokens) * spec.length > LARGEST:
        most = LARGEST // spec.length
        raise UserError(f"a file holds 1 to {most:,} images of {spec.length} tokens, not {len(tokens):,}")
    require(1 <= batch <= LARGEST_BATCH, f"--batch {batch} must lie between 1 and {LARGEST_BATCH:,}")
    if tokens.shape[1:] != (spec.length,):
        raise UserError(f"tokens of shape {tuple(tokens.shape)} are not what {loaded.path} codes: (B, {spec.length})")
    if labels.shape != (len(tokens),) or labels.min() < -1 or labels.max() >= classes:
        raise UserError(f"{loaded.path} needs a label from -1 (none) to {classes - 1} for each of {len(tokens)} images")
    if tokens.min() < 0 or tokens.max() >= spec.alphabet:
        raise UserError(
            f"tokens lie between {tokens.min()} and {tokens.max()}, and {loaded.path} knows 0 to {spec.alphabet - 1};"
            " they are of another tokenizer"
        )


def _check_origin(loaded: Loaded, container: Container, name: str) -> None:
    spec = loaded.spec
    same_tokens = (container.kind, container.size, container.grid) == (spec.kind, spec.size, spec.grid)
    if container.generator != weights_hash(loaded.generator) or not same_tokens:
        raise UserError(
            f"{name} was compressed with another model than {loaded.path}: one of weights {container.generator}, with"
            f" {container.kind} tokens of size {container.size} on a grid {container.grid}; name its run"
        )
    if container.tokenizer != _tokenizer_hash(loaded):
        raise UserError(
            f"{name} holds tokens of another tokenizer (weights {container.tokenizer}) than that of {loaded.path},"
            " which would decode them wrongly; restore that tokenizer"
        )
    if container.mode not in loaded.paradigm.modes() or max(container.labels) >= len(loaded.generator.names("class")):
        raise UserError(f"{name} is corrupt: {loaded.path} has no such mode or class; copy it again")


def _tokenizer_hash(loaded: Loaded) -> str:
    return "0" * 16 if loaded.tokenizer is None else weights_hash(loaded.tokenizer)


def _checksum(tokens: Tensor) -> int:
    return zlib.crc32(tokens.cpu().numpy().astype("<i8").tobytes())

"""Images from a loaded generator: labels to tokens to images, in batches, with progress and every step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.paradigms import SampleOptions, State
from mmgen.paradigms.canvas import where
from mmgen.sampling.samples import check_request, follow, pick_mode, requests, require_tokenizer
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class ImageSamples:
    """What came out, on the CPU.

    Args:
        tokens: (B, N) int64, or (B, N, C) continuous ones.
        images: (B, C, H, W) in [-1, 1].
        steps: the states that the slowest batch went through.
        forward_passes: of the backbone, one after the other, for the slowest batch; a guided one is a doubled batch and
            counts once.
        seconds: wall clock for all batches, decoding included.
        states: all rows' states in order if they were asked for; a batch that ends early repeats its last one.
    """

    tokens: Tensor
    images: Tensor
    steps: int
    forward_passes: int
    seconds: float
    states: list[State] | None = None


def sample_images(
    loaded: Loaded,
    mode: str | None,
    labels: Tensor,
    options: SampleOptions,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 64,
    known: Tensor | None = None,
    keep: Tensor | None = None,
    keep_states: bool = False,
    progress: Callable[[float], None] | None = None,
    texts: Sequence[str] | None = None,
) -> ImageSamples:
    """Draw one image for each label.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        labels: (B,) int64 class of each sample, -1 for none.
        options: steps, guidance and decoding.
        seed: with the sample's number, the key of all its randomness.
        first_sample: the number of the first one.
        batch: samples at a time.
        known: (1 or B, N) tokens, or (1 or B, N, C), of which `keep` says which ones stand (infilling).
        keep: (1 or B, N) bool.
        keep_states: return every intermediate state too.
        progress: called after each state with the number of samples that are done; a started one counts by its tokens.
        texts: what each of them is to show; None for none.

    Raises:
        UserError: an unknown mode, no tokenizer to decode with, a class out of range, guidance without a class, or
            tokens to keep that the paradigm cannot keep.
    """
    paradigm = pick_mode(loaded, mode)
    tokenizer = require_tokenizer(loaded)
    if loaded.spec.modality not in ("", "image"):
        raise UserError(f"{loaded.path} generates {modality_of(loaded.spec.modality).plural}, not images")
    check_request(loaded, labels, options, batch)
    given = {} if texts is None else text_values(loaded, texts)
    started, runs, images = time.perf_counter(), [], []
    for rows, request in requests(loaded, labels, seed, first_sample, batch, known, keep, given):
        states: list[State] = []
        for state in follow(paradigm, loaded, request, options, rows.start, progress):
            states[len(states) if keep_states else 0 :] = [state]
        runs.append(states)
        images.append(tokenizer.decode(Tokens(states[-1].tokens, loaded.spec.grid)).float().cpu())
    seconds = time.perf_counter() - started
    last = [states[-1] for states in runs]
    return ImageSamples(
        tokens=torch.cat([state.tokens.cpu() for state in last]),
        images=torch.cat(images),
        steps=max(state.step for state in last),
        forward_passes=max(state.forward_passes for state in last),
        seconds=seconds,
        states=_side_by_side(runs) if keep_states else None,
    )


def region(text: str, spec: TokenSpec) -> Tensor:
    """(N,) bool: the places of the token grid that a text such as `0:4` (rows) or `0:4,2:6` (rows, columns) names.

    Raises:
        UserError: it is no such text, or names no place of the grid.
    """
    mask = torch.zeros(spec.grid, dtype=torch.bool)
    parts = [part.split(":") for part in text.split(",")]
    try:
        if len(parts) > 2 or any(len(ends) != 2 for ends in parts):
            raise ValueError
        mask[(slice(None), *(slice(*(int(end) if end.strip() else None for end in ends)) for ends in parts))] = True
    except ValueError:
        raise UserError(
            f"region {text!r} must be ROWS or ROWS,COLUMNS of the token grid, such as 0:4 or 0:4,2:6 or :,0:3"
        ) from None
    if not mask.any():
        raise UserError(
            f"region {text!r} names no place of the token grid of {spec.grid[1]} rows and {spec.grid[2]} columns"
        )
    return mask.flatten()


def state_images(tokenizer: Tokenizer, state: State) -> Tensor:
    """A state as images (B, C, H, W) in [-1, 1]: decoded, with mid-grey over the places that are still open."""
    tokens = where(state.shown, state.tokens, torch.zeros_like(state.tokens))  # what an open place holds means nothing
    device = next(tokenizer.parameters()).device
    images = tokenizer.decode(Tokens(tokens.to(device), tokenizer.spec.grid)).float().cpu()
    _, rows, columns = tokenizer.spec.grid
    places = rearrange(state.shown.cpu(), "b (t h w) -> b t h w", h=rows, w=columns)
    shown = places.repeat_interleave(images.shape[-2] // rows, -2).repeat_interleave(images.shape[-1] // columns, -1)
    return torch.where(shown, images, 0.0)


def _side_by_side(runs: list[list[State]]) -> list[State]:
    """The states of several batches as states of all rows."""
    merged = []
    for index in range(max(map(len, runs))):
        now = [states[min(index, len(states) - 1)] for states in runs]
        slowest = max(now, key=lambda state: state.step)
        tokens, committed, shown = (
            torch.cat([getattr(state, name).cpu() for state in now]) for name in ("tokens", "committed", "shown")
        )
        passes = max(state.forward_passes for state in now)
        merged.append(State(tokens, committed, slowest.step, slowest.block, passes, drafted=shown))
    return merged

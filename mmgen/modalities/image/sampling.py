"""Images from a loaded generator: tokens to images, in batches, with every step."""

import time
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.paradigms import State
from mmgen.paradigms.canvas import where
from mmgen.sampling.samples import Samples, SamplingTask, require_tokenizer
from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class ImageSamples(Samples):
    """Images, on the CPU.

    Args:
        images: (B, C, H, W) in [-1, 1].
        states: all rows' states in order if they were asked for; a batch that ends early repeats its last one.
    """

    images: Tensor
    states: list[State] | None = None


def sample_images(task: SamplingTask, keep_states: bool = False) -> ImageSamples:
    """Draw images.

    Args:
        task: which ones.
        keep_states: return every intermediate state too.

    Raises:
        UserError: the run makes no images, or tokens to keep that the paradigm cannot keep.
    """
    tokenizer = require_tokenizer(task.loaded, "image")
    started, runs, images = time.perf_counter(), [], []
    for rows, states in task.run():
        seen: list[State] = []
        for state in states:
            seen[len(seen) if keep_states else 0 :] = [state]
        runs.append((rows, seen))
        images.append(tokenizer.decode(Tokens(seen[-1].tokens, task.spec.grid)).float().cpu())
    totals = task.totals([(rows, seen[-1]) for rows, seen in runs], time.perf_counter() - started)
    merged = _side_by_side([seen for _, seen in runs]) if keep_states else None
    return ImageSamples(**totals, images=torch.cat(images), states=merged)


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
    tokens = where(state.filled, state.tokens, torch.zeros_like(state.tokens))  # what an open place holds means nothing
    device = next(tokenizer.parameters()).device
    images = tokenizer.decode(Tokens(tokens.to(device), tokenizer.spec.grid)).float().cpu()
    _, rows, columns = tokenizer.spec.grid
    places = rearrange(state.filled.cpu(), "b (t h w) -> b t h w", h=rows, w=columns)
    filled = places.repeat_interleave(images.shape[-2] // rows, -2).repeat_interleave(images.shape[-1] // columns, -1)
    return torch.where(filled, images, 0.0)


def _side_by_side(runs: list[list[State]]) -> list[State]:
    """The states of several batches as states of all rows."""
    merged = []
    for index in range(max(map(len, runs))):
        now = [states[min(index, len(states) - 1)] for states in runs]
        slowest = max(now, key=lambda state: state.step)
        tokens, committed, filled = (
            torch.cat([getattr(state, name).cpu() for state in now]) for name in ("tokens", "committed", "filled")
        )
        passes = max(state.forward_passes for state in now)
        merged.append(State(tokens, committed, slowest.step, slowest.block, passes, drafted=filled))
    return merged

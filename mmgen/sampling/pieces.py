"""From tokens to samples of their own lengths, whole or in pieces while the sampler runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.paradigms import State
from mmgen.sampling.samples import SamplingTask, ended_tokens
from mmgen.tokenizers import Tokenizer, TokenizerStream


@dataclass(frozen=True, eq=False)
class Piece:
    """The next frames of samples that are made side by side, finished. A frame of sound is one of its samples.

    Args:
        rows: which samples.
        start: number of the first of these frames.
        values: (b, C, t, ...) as the tokenizer decodes them, on the CPU; 0 behind the end of a row.
        lengths: (b,) int64 frames of each row, as far as is known: all that there is room for, as long as it goes on.
        state: of the sampler, just after they were finished.
    """

    rows: slice
    start: int
    values: Tensor
    lengths: Tensor
    state: State

    @property
    def stop(self) -> int:
        """Number of the frame after the last of these."""
        return self.start + self.values.shape[2]


def stream_pieces(
    task: SamplingTask, given: int = 0, least: int = 1, most: int | None = None, shortest: int = 0
) -> Iterator[Piece]:
    """Samples while they are made: frames in order, as soon as their tokens are final in all rows of a batch.

    A tokenizer that streams decodes with carried state, so that nothing grows with the length but the tokens; another
    decodes all frames at the end. So do modes that finish everything at the same time.

    Args:
        task: what to make.
        given: latents at the beginning of each row that are not handed out; frames are counted from their end.
        least: latents of each piece but the last, at least.
        most: latents that are decoded together, where the tokenizer streams; all that are finished by default.
        shortest: latents of a row that ends at once.
    """
    spec, tokenizer = task.spec, task.tokenizer
    places, offset = spec.grid[1] * spec.grid[2], spec.frames(given) if given else 0
    for rows, states in task.run():
        stream, done = stream_of(tokenizer), 0
        for state in states:
            tokens = task.token_lengths(state, rows)
            latents = (tokens // places).clamp_min(shortest)
            longest = int(latents.max())
            ready = state.committed.unflatten(1, (-1, places)).all(2).all(0)
            stop = min(int(ready.cumprod(0).sum()), longest)
            fresh = stop - max(done, given)
            if fresh <= 0 or (stop < longest and (stream is None or fresh < least)):
                continue
            lengths = (latents * spec.stride - spec.stride + spec.first).clamp_min(0) - offset
            lengths = lengths if task.lengths is None else task.lengths[rows]
            values = ended_tokens(state.tokens, tokens)
            step = stop - done if stream is None or most is None else most
            for begin in range(done, stop, step):
                end = min(begin + step, stop)
                part = Tokens(values[:, begin * places : end * places], (end - begin, *spec.grid[1:]))
                start = spec.frames(begin) if begin else 0
                with torch.no_grad():
                    made = tokenizer.decode(part) if stream is None else stream.decode(part, spec.frames(end) - start)
                made = made.float().cpu()[:, :, max(0, offset - start) :]
                start = max(start, offset) - offset
                behind = start + torch.arange(made.shape[2]) >= lengths[:, None]
                made = made.masked_fill(behind.view(len(made), 1, -1, *[1] * (made.dim() - 3)), 0.0)
                yield Piece(rows, start, made, lengths, state)
            done = stop


@torch.no_grad()
def decode_rows(tokenizer: Tokenizer, tokens: Tensor, frames: Sequence[int]) -> list[Tensor]:
    """Samples (C, T) float32 on the CPU of tokens (B, N, ...), each of its own length, `frames` of each row, 0 for
    nothing.
    """
    counts = [math.ceil(each / tokenizer.spec.stride) for each in frames]
    tokens, longest = ended_tokens(tokens, torch.tensor(counts)), max(counts)
    if len(set(counts)) > 1 and stream_of(tokenizer) is None:
        # What stands behind a row's end would change its last frames, which no causal decoder lets happen.
        return [decode_rows(tokenizer, row, [each])[0] for row, each in zip(tokens.split(1), frames, strict=True)]
    if not longest:
        return [torch.zeros(tokenizer.sample_shape[0], 0) for _ in frames]
    whole = tokenizer.decode(Tokens(tokens[:, :longest], (longest, 1, 1))).float().cpu()
    return [row[:, :each] for row, each in zip(whole, frames, strict=True)]


def stream_of(tokenizer: Tokenizer) -> TokenizerStream | None:
    """A stream of the tokenizer; None where it looks ahead."""
    try:
        return tokenizer.streaming()
    except UserError:
        return None

"""From the tokens of speech to what is heard: rows of their own lengths, and sound while it is made."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import State
from mmgen.sampling.rows import ended_tokens, row_lengths

_FRAME = 0.02  # seconds over which loudness is measured
_SILENCE_DB = 40.0  # what is so much softer than the loudest frame of its sound is silence
_MARGIN = 0.05  # seconds of silence that a sound keeps at its end


@dataclass(frozen=True, eq=False)
class Chunk:
    """Sound that is finished, of the texts that are spoken side by side.

    Args:
        rows: which texts.
        start: number of its first sample, counted from the end of the prompt.
        sound: (b, 1, t) in [-1, 1], on the CPU; 0 behind the end of a row.
        ended: (b,) bool, rows that end within this chunk or have ended before.
        state: of the sampler, just after it was finished.
    """

    rows: slice
    start: int
    sound: Tensor
    ended: Tensor
    state: State

    @property
    def stop(self) -> int:
        """Number of the sample after its last one."""
        return self.start + self.sound.shape[2]


@torch.no_grad()
def decode_rows(tokenizer: AudioTokenizer, tokens: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    """Sounds (T,) float32 on the CPU, each of its own length.

    Args:
        tokenizer: whose tokens they are.
        tokens: (B, N), (B, N, Q) residual or (B, N, C) continuous ones, on its device.
        lengths: (B,) int64 tokens of each row, 0 to N; all by default.
    """
    stride, count = tokenizer.spec.stride, tokens.shape[1]
    each = [count] * len(tokens) if lengths is None else lengths.tolist()
    if lengths is not None:
        tokens = ended_tokens(tokens, lengths)
    if tokenizer.latency is None and len(set(each)) > 1:
        # What stands behind a row's end would change its last sounds, which no causal decoder lets happen.
        rows = zip(tokens.split(1), each, strict=True)
        return [decode_rows(tokenizer, row[:, :n])[0] if n else torch.zeros(0) for row, n in rows]
    longest = max(each)
    if not longest:
        return [torch.zeros(0) for _ in each]
    whole = tokenizer.decode(Tokens(tokens[:, :longest], (longest, 1, 1)))[:, 0].float().cpu()
    return [sound[: n * stride] for sound, n in zip(whole, each, strict=True)]


def without_silence(sound: Tensor, sample_rate: int, least: int = 1) -> Tensor:
    """A sound without the silence at its end, but for a twentieth of a second.

    Args:
        sound: (T,).
        sample_rate: in Hz.
        least: samples to keep at any rate.
    """
    size = max(1, round(_FRAME * sample_rate))
    power = rearrange(F.pad(sound, (0, -len(sound) % size)), "(n s) -> n s", s=size).square().mean(1)
    loud = (power > power.max() * 10 ** (-_SILENCE_DB / 10)).nonzero()
    stop = (int(loud[-1]) + 1) * size + round(_MARGIN * sample_rate) if len(loud) else 0
    return sound[: max(least, stop)]


def decoded(states: Iterator[State], tokenizer: AudioTokenizer, rows: slice, given: int, least: int) -> Iterator[Chunk]:
    """Sounds as the states finish them.

    Args:
        states: of a sampler.
        tokenizer: of their tokens.
        rows: which texts they are of.
        given: tokens at the beginning of each row that are not handed out.
        least: tokens of each piece but the last, at least.
    """
    stride, done = tokenizer.spec.stride, 0
    try:
        stream = tokenizer.streaming()
    except UserError:  # it looks ahead
        stream = None
    for state in states:
        ready = int(state.committed.all(0).cumprod(0).sum())
        lengths = row_lengths(state)
        longest = int(lengths.max())
        stop = min(ready, longest)
        enough = stop == longest or (stream is not None and stop - max(done, given) >= least)
        if stop <= max(done, given) or not enough:
            continue
        part = ended_tokens(state.tokens, lengths)[:, done:stop]
        tokens = Tokens(part, (stop - done, 1, 1))
        with torch.no_grad():
            sound = (tokenizer.decode(tokens) if stream is None else stream.decode(tokens)).float().cpu()
        sound = sound[:, :, max(0, given - done) * stride :]
        begin = max(done, given)
        places = begin * stride + torch.arange(sound.shape[2])
        silent = places >= stride * lengths.cpu()[:, None]
        ended = (lengths <= stop).cpu()
        yield Chunk(rows, (begin - given) * stride, sound.masked_fill(silent[:, None], 0.0), ended, state)
        done = stop

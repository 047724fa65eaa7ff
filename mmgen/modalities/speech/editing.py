"""Other words in a recording: the part that changes is made anew by a generator that sees the rest, and spliced in.

Outside the part that changes the recording stays as it is, sample for sample.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.alignment import Aligner, Change, Times, find_span, word_times
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import SamplingTask, condition_values, text_condition, text_values
from mmgen.store.store import Loaded

INFILL = "infill"
"""The mode that is taken where nobody chose: it finds out by itself how long the new part is."""

MARGIN = 0.08
"""Seconds on each side of the words that change which are made anew too (VoiceCraft, Peng et al. 2024)."""


@dataclass(frozen=True, eq=False)
class Edited:
    """What came out, on the CPU.

    Args:
        sound: (1, T) float32 in [-1, 1].
        span: of the recording that was replaced, margins included, in seconds.
        made: what stands there instead, in seconds of the result.
        tokens: (1, N) int64, (1, N, Q) residual ones, or (1, N, C) continuous ones, of the whole result.
        forward_passes: of the backbone, one after the other.
        seconds: wall clock, encoding and decoding included.
    """

    sound: Tensor
    span: Times
    made: Times
    tokens: Tensor
    forward_passes: int
    seconds: float


def edit(
    loaded: Loaded,
    sound: Tensor,
    old: str,
    new: str,
    span: Times | None = None,
    margin: float = MARGIN,
    mode: str | None = None,
    label: int = -1,
    options: SampleOptions | None = None,
    seed: int = 0,
    align: Aligner | None = None,
    progress: Callable[[float], None] | None = None,
) -> Edited:
    """Let a recording say something else.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        sound: (1, T) in [-1, 1] at the tokenizer's rate.
        old: what is said in it, all of it.
        new: what shall be said in it, all of it.
        span: seconds between which the words stand that change; found by `align` where None.
        margin: seconds on each side of the span that are made anew too.
        mode: one of `loaded.paradigm.modes()` that sees what comes after a gap; by default `infill` where there is one.
            Others make a part whose length follows from those of the texts.
        label: voice, -1 for none.
        options: steps, guidance and decoding; the default ones if None.
        seed: key of all randomness.
        align: of words to times; `word_times` by default.
        progress: called after each state with the share that is done.

    Raises:
        UserError: as `sampling.sample_speech`; both texts say the same, the words cannot be found in the sound, the
            span lies outside it, or the result would be longer than what the generator was trained on.
    """
    started, tokenizer = time.perf_counter(), require_speech_tokenizer(loaded)
    mode = INFILL if mode is None and INFILL in loaded.paradigm.modes() else mode
    conditions = text_values(loaded, [new]) | {"class": torch.tensor([label])}
    task = SamplingTask(loaded, mode, conditions, options or SampleOptions(), seed, progress=progress)
    change = Change.between(old, new)
    condition_values(loaded, text_values(loaded, [old]))
    rate, count = tokenizer.sample_rate, sound.shape[1]
    if span is None:
        span = find_span(sound, rate, change, align or word_times)
    first, last = _window(span, margin, rate, count)
    gap = _Gap.of(task, sound, (first, last), " ".join(old.split()), " ".join(new.split()))
    stride, room = tokenizer.spec.stride, gap.known.shape[1]
    lengths = torch.tensor([gap.length * stride]) if gap.free else None
    task = replace(
        task, known=gap.known, keep=gap.keep, frames=room * stride, lengths=lengths,
        options=replace(task.options, fit=task.options.fit and not gap.free),
    )  # fmt: skip
    ((_, states),) = task.run()
    *_, final = states
    length = room if final.lengths is None else int(final.lengths[0])
    tokens = final.tokens[:, :length]
    with torch.no_grad():
        decoded = tokenizer.decode(Tokens(tokens, (length, 1, 1)))[0].float().cpu()
    grown = (length if gap.free else gap.length) - tokenizer.spec.latents(count)
    made = decoded[:, first : max(first, last + grown * stride)]
    result = splice(sound.cpu(), made, first, last, round(margin * rate))
    stop = last + result.shape[1] - count
    return Edited(
        result, (first / rate, last / rate), (first / rate, stop / rate), tokens.cpu(), final.forward_passes,
        time.perf_counter() - started,
    )  # fmt: skip


def splice(sound: Tensor, made: Tensor, first: int, last: int, fade: int) -> Tensor:
    """A sound (1, T) whose samples from `first` to `last` are replaced by `made` (1, M), with a cross-fade of `fade`
    samples, as far as there are so many; all others stay as they are, to the bit.
    """
    old, count = sound[:, first:last], made.shape[1]
    width = min(fade, old.shape[1], count // 2 if count > 1 else count)
    made = made.clone()
    if width:
        rise = (torch.arange(width, dtype=made.dtype) + 1) / (width + 1)
        made[:, :width] = (1 - rise) * old[:, :width] + rise * made[:, :width]
        made[:, count - width :] = rise.flip(0) * made[:, count - width :] + rise * old[:, old.shape[1] - width :]
    return torch.cat([sound[:, :first], made, sound[:, last:]], dim=1)


def _window(span: Times, margin: float, sample_rate: int, count: int) -> tuple[int, int]:
    """The samples that are replaced: from, and behind the last."""
    start, end = span
    seconds = count / sample_rate
    if not 0 <= start <= end <= seconds + 1e-3 or margin < 0:
        raise UserError(
            f"--span {start:g}:{end:g} with --margin {margin:g} does not lie in the {seconds:.3g} s of the sound"
        )
    first = max(0, round((start - margin) * sample_rate))
    last = min(count, round((end + margin) * sample_rate))
    if last <= first:
        raise UserError(f"--span {start:g}:{end:g} is empty: give it some time, or a --margin")
    return first, last


@dataclass(frozen=True, eq=False)
class _Gap:
    """A row of tokens `known` (1, N, ...), to be filled in where `keep` (1, N) is False. `length` tokens of it are the
    row, the gap included; tokens `start` to `stop` of the recording are left out; where `free`, the filling may be
    shorter or longer than the gap.
    """

    known: Tensor
    keep: Tensor
    length: int
    start: int
    stop: int
    free: bool

    @classmethod
    @torch.no_grad()
    def of(cls, task: SamplingTask, sound: Tensor, window: tuple[int, int], old: str, new: str) -> "_Gap":
        """The gap that a window of samples makes, with the room that the new text needs."""
        loaded, tokenizer, most = task.loaded, require_speech_tokenizer(task.loaded), task.spec.length
        stride, ends = tokenizer.spec.stride, loaded.paradigm.ends
        start, stop = window[0] // stride, -(-window[1] // stride)
        count = tokenizer.spec.latents(sound.shape[1])
        free = ends and getattr(task.paradigm, "positions", "original") != "original"
        reads = loaded.generator.vocabulary(text_condition(loaded) or "")
        assert isinstance(reads, Text)  # it has read both texts
        more = 0 if free else round(count * (reads.expected(new) / reads.expected(old) - 1))
        room = max(1, stop - start + more)
        length = count - (stop - start) + room
        if length > most:
            raise UserError(
                f"the sound has {count * stride / tokenizer.sample_rate:.3g} s and would get"
                f" {length * stride / tokenizer.sample_rate:.3g} s, but {loaded.path} was trained on"
                f" {most * stride / tokenizer.sample_rate:.3g} s: cut it shorter"
            )
        silence = 0 if ends else most - length  # where no row ends by itself, silence fills them all up
        filled = F.pad(sound, (0, (count + silence) * stride - sound.shape[1]))
        values = tokenizer.encode(filled[None].to(loaded.generator.device)).values
        between = values.new_zeros(1, room, *values.shape[2:])
        known = torch.cat([values[:, :start], between, values[:, stop:]], dim=1)
        keep = torch.ones(known.shape[:2], dtype=torch.bool, device=known.device)
        keep[:, start : start + room] = False
        if free:  # room to grow
            rest = most - length
            known = F.pad(known, (0, 0) * (known.dim() - 2) + (0, rest))
            keep = F.pad(keep, (0, rest), value=True)
        return cls(known, keep, length, start, stop, free)

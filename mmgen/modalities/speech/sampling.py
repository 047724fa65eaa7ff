"""Speech from a loaded generator: texts to sounds, whole or while they are made, perhaps going on from a recording."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.sampling.pieces import Piece, decode_rows, stream_pieces
from mmgen.sampling.samples import Samples, SamplingTask, require_tokenizer, text_condition
from mmgen.store.store import Loaded

CHUNK = 0.1
"""Seconds of sound that a stream decodes together, where nobody chose."""

_FRAME = 0.02  # seconds over which loudness is measured
_SILENCE_DB = 40.0  # what is so much softer than the loudest frame of its sound is silence
_MARGIN = 0.05  # seconds of silence that a sound keeps at its end


@dataclass(frozen=True, eq=False)
class Prompt:
    """A recording whose voice and manner speech goes on in.

    Args:
        sound: (T,) or (1, T) in [-1, 1] at the tokenizer's rate; what fills no whole token at its end is left out.
        text: what is said in it, all of it.
    """

    sound: Tensor
    text: str


@dataclass(frozen=True, eq=False)
class SpeechSamples(Samples):
    """Speech, on the CPU. Tokens and lengths count prompts.

    Args:
        sounds: one a text, (T,) float32 in [-1, 1] of its own length, at least a token long; prompts are left out.
        sample_rate: of them, in Hz.
    """

    sounds: list[Tensor]
    sample_rate: int

    @property
    def spoken_seconds(self) -> float:
        """How long all sounds are together."""
        return sum(map(len, self.sounds)) / self.sample_rate


def sample_speech(task: SamplingTask, prompts: Sequence[Prompt] = ()) -> SpeechSamples:
    """Say each text.

    Rows that end by themselves are as long as they are. Others are as long as the clips of training, which end in
    silence, and that silence is cut.

    Args:
        task: which texts, in which voices (`class`); `frames` count the prompt.
        prompts: recordings to go on from, one for all or one a text; they are kept, and left out of what is returned.

    Raises:
        UserError: the generator is of no sound, a text has characters that it does not know or is too long, or a prompt
            leaves no room or has no token.
    """
    started, tokenizer = time.perf_counter(), require_speech_tokenizer(task.loaded)
    task, prompt_lengths = with_prompts(task, prompts)
    stride, rate = task.spec.stride, tokenizer.sample_rate
    sounds: list[Tensor] = []
    last = []
    for rows, states in task.run():
        *_, state = states
        last.append((rows, state))
        whole = decode_rows(tokenizer, state.tokens, (stride * task.token_lengths(state, rows)).tolist())
        for sound, count in zip(whole, prompt_lengths[rows].tolist(), strict=True):
            rest = sound[0, count * stride :]
            rest = rest if len(rest) else torch.zeros(stride)  # it ended at once: nothing, but a sound
            sounds.append(rest if state.lengths is not None else without_silence(rest, rate, stride))
    return SpeechSamples(**task.totals(last, time.perf_counter() - started), sounds=sounds, sample_rate=rate)


def stream_speech(task: SamplingTask, prompt: Prompt | None = None, chunk: float = CHUNK) -> Iterator[Piece]:
    """Say each text, and hand out the sound while it is made, in order, as soon as its tokens are final.

    All pieces of a row together are what `sample_speech` returns for it, up to rounding, and up to the silence that it
    cuts where rows do not end by themselves.

    Args:
        task: as for `sample_speech`.
        prompt: one for all texts; samples are counted from its end.
        chunk: seconds that are decoded together at least; less is sooner, and more work.

    Raises:
        UserError: as `sample_speech` does, at once.
    """
    tokenizer = require_speech_tokenizer(task.loaded)
    task, prompt_lengths = with_prompts(task, [] if prompt is None else [prompt])
    return stream_pieces(task, int(prompt_lengths[0]), max(1, round(chunk * tokenizer.sample_rate / task.spec.stride)))


def require_speech_tokenizer(loaded: Loaded) -> AudioTokenizer:
    """The tokenizer of sound. Raises UserError where the run has none, or one of something else."""
    tokenizer = require_tokenizer(loaded, "speech")
    assert isinstance(tokenizer, AudioTokenizer)
    return tokenizer


@torch.no_grad()
def with_prompts(task: SamplingTask, prompts: Sequence[Prompt]) -> tuple[SamplingTask, Tensor]:
    """The task with recordings to go on from, and (B,) int64 tokens of each row that they take."""
    if not prompts:
        return task, torch.zeros(task.count, dtype=torch.int64)
    if len(prompts) not in (1, task.count):
        raise ValueError(f"{task.count} texts and {len(prompts)} prompts: there must be one for all, or one a text")
    spec, rate, rows = task.spec, require_speech_tokenizer(task.loaded).sample_rate, []
    for prompt in prompts:
        sound = prompt.sound.reshape(1, 1, -1).float().to(task.loaded.generator.device)
        tokens = sound.shape[2] // spec.stride
        if not 1 <= tokens < spec.length:
            length, token = sound.shape[2] / rate, spec.stride / rate
            raise UserError(
                f"a --prompt of {length:.2f} s must be at least a token of {token:g} s long, and leave room in the"
                f" {spec.length * token:.2f} s of a sample; choose another, or other --seconds"
            )
        rows.append(task.tokenizer.encode(sound[..., : tokens * spec.stride]).values[0])
    known = torch.stack([F.pad(row, (0, 0) * (row.dim() - 1) + (0, spec.length - len(row))) for row in rows])
    prompt_lengths = torch.tensor([len(row) for row in rows])
    keep = torch.arange(spec.length) < prompt_lengths[:, None]
    name = text_condition(task.loaded) or "text"
    texts = task.conditions.get(name, [""] * task.count)
    assert not callable(texts) and not isinstance(texts, Tensor)
    spoken_texts = [f"{prompt.text} {text}".strip() for prompt, text in zip(cycle(prompts), texts)]
    task = replace(task, known=known, keep=keep, conditions={**task.conditions, name: spoken_texts})
    return task, prompt_lengths.expand(task.count)


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

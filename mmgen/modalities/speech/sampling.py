"""Speech from a loaded generator: texts to sounds, whole or while they are made, perhaps going on from a recording.

What `sampling.samples` is for images and `video.sampling` for clips. Sample i depends on (seed, i), its text, its label
and its prompt alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.speech.decoding import Chunk, decode_rows, decoded, without_silence
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import Paradigm, Request, SampleOptions, State
from mmgen.sampling.rows import ended_tokens, row_lengths
from mmgen.sampling.samples import check_request, follow, pick_mode, requests, require_tokenizer
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded

CHUNK = 0.1
"""Seconds of sound that a stream decodes together, where nobody chose."""


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
class SpeechSamples:
    """What was said, on the CPU.

    Args:
        sounds: one a text, (T,) float32 in [-1, 1] of its own length, at least a token long; prompts are left out.
        sample_rate: of them, in Hz.
        tokens: (B, N) int64, (B, N, Q) residual ones, or (B, N, C) continuous ones, prompts included; 0 behind the end.
        lengths: (B,) int64 tokens of each row until its end, prompts included; N where rows do not end by themselves.
        steps: states that the slowest batch went through.
        forward_passes: of the backbone, one after the other, for the slowest batch; a guided one is a doubled batch and
            counts once.
        seconds: wall clock for all batches, encoding and decoding included.
    """

    sounds: list[Tensor]
    sample_rate: int
    tokens: Tensor
    lengths: Tensor
    steps: int
    forward_passes: int
    seconds: float

    @property
    def spoken_seconds(self) -> float:
        """How long all sounds are together."""
        return sum(map(len, self.sounds)) / self.sample_rate


def sample_speech(
    loaded: Loaded,
    mode: str | None,
    texts: Sequence[str],
    labels: Tensor | None = None,
    options: SampleOptions | None = None,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    seconds: float | None = None,
    prompt: Prompt | Sequence[Prompt] | None = None,
    progress: Callable[[float], None] | None = None,
) -> SpeechSamples:
    """Say each text.

    Rows that end by themselves are as long as they are. Others are as long as the clips of training, which end in
    silence, and that silence is cut.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        texts: what is to be said, prompts not included; all empty for a generator that reads no text.
        labels: (B,) int64 voice of each, -1 for none; -1 for all by default.
        options: steps, guidance and decoding; the default ones if None.
        seed: with the sample's number, the key of all its randomness.
        first_sample: the number of the first one.
        batch: texts at a time.
        seconds: how long a row may be, prompt included; as long as the clips of training by default.
        prompt: a recording to go on from, one for all or one a text; it is kept, and left out of what is returned.
        progress: called after each state with the number of samples that are done; a started one counts by its tokens.

    Raises:
        UserError: as `samples.sample_images`; or the generator is of no sound, a text has characters that it
            does not know or is too long, or a prompt leaves no room or has no token.
    """
    started = time.perf_counter()
    task = _Task.of(loaded, mode, texts, labels, options, batch, seconds, prompt)
    sounds: list[Tensor] = []
    last: list[State] = []
    for rows, request in task.requests(seed, first_sample, batch):
        for state in follow(task.paradigm, loaded, request, task.options, rows.start, progress):
            final = state
        last.append(final)
        whole = decode_rows(task.tokenizer, final.tokens, final.lengths)
        stride = task.spec.stride
        for sound, given in zip(whole, task.given[rows].tolist(), strict=True):
            rest = sound[given * stride :]
            rest = rest if len(rest) else torch.zeros(stride)  # it ended at once: nothing, but a sound
            ended = final.lengths is not None
            sounds.append(rest if ended else without_silence(rest, task.tokenizer.sample_rate, stride))
    lengths = [row_lengths(state) for state in last]
    return SpeechSamples(
        sounds,
        task.tokenizer.sample_rate,
        torch.cat([ended_tokens(state.tokens, length).cpu() for state, length in zip(last, lengths)]),
        torch.cat(lengths).cpu(),
        steps=max(state.step for state in last),
        forward_passes=max(state.forward_passes for state in last),
        seconds=time.perf_counter() - started,
    )


def stream_speech(
    loaded: Loaded,
    mode: str | None,
    texts: Sequence[str],
    labels: Tensor | None = None,
    options: SampleOptions | None = None,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 16,
    seconds: float | None = None,
    prompt: Prompt | None = None,
    chunk: float = CHUNK,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Chunk]:
    """Say each text, and hand out the sound while it is made, in order, as soon as its tokens are final.

    All chunks of a row together are what `sample_speech` returns for it, up to rounding, and up to the silence that it
    cuts where rows do not end by themselves. Modes that finish everything at the end yield one chunk, and so do
    tokenizers that need the whole.

    Args:
        loaded: as for `sample_speech`, and so are all but:
        mode: likewise.
        texts: likewise.
        labels: likewise.
        options: likewise.
        seed: likewise.
        first_sample: likewise.
        batch: likewise.
        seconds: likewise.
        prompt: one for all texts.
        chunk: seconds that are decoded together at least; less is sooner, and more work.
        progress: likewise.

    Raises:
        UserError: as `sample_speech` does, at once.
    """
    task = _Task.of(loaded, mode, texts, labels, options, batch, seconds, prompt)
    least = max(1, round(chunk * task.tokenizer.sample_rate / task.spec.stride))

    def run() -> Iterator[Chunk]:
        for rows, request in task.requests(seed, first_sample, batch):
            states = follow(task.paradigm, loaded, request, task.options, rows.start, progress)
            yield from decoded(states, task.tokenizer, rows, int(task.given[0]), least)

    return run()


def speech_spec(loaded: Loaded, seconds: float | None = None) -> TokenSpec:
    """The tokens of speech of so many seconds, as long as the clips of training by default. Raises UserError where the
    generator makes no sound, or none so long.
    """
    if loaded.spec.modality != "speech":
        raise UserError(f"{loaded.path} generates {modality_of(loaded.spec.modality).plural}, not speech")
    spec = loaded.spec
    if seconds is not None:
        samples = round(seconds * require_speech_tokenizer(loaded).sample_rate)
        if samples < 1:
            raise UserError(f"--seconds must be above 0, got {seconds:g}")
        spec = spec.with_frames(samples)
    loaded.generator.require_grid(spec.grid)
    return spec


def require_speech_tokenizer(loaded: Loaded) -> AudioTokenizer:
    """The tokenizer of sound. Raises UserError where the run has none, or one of something else."""
    tokenizer = require_tokenizer(loaded)
    if not isinstance(tokenizer, AudioTokenizer):
        raise UserError(f"{loaded.path} generates {modality_of(loaded.spec.modality).plural}, not speech")
    return tokenizer


@dataclass(frozen=True, eq=False)
class _Task:
    """What is to be said, checked.

    Args:
        loaded: whose generator speaks.
        paradigm: one of its modes.
        tokenizer: its own.
        options: of sampling.
        spec: of the tokens of a row.
        labels: (B,) int64.
        conditions: name -> values (B, ...) of its texts.
        given: (B,) int64 tokens of each row that are given.
        known: (B, N, ...) these tokens; None where none are.
    """

    loaded: Loaded
    paradigm: Paradigm
    tokenizer: AudioTokenizer
    options: SampleOptions
    spec: TokenSpec
    labels: Tensor
    conditions: dict[str, Tensor]
    given: Tensor
    known: Tensor | None

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        mode: str | None,
        texts: Sequence[str],
        labels: Tensor | None,
        options: SampleOptions | None,
        batch: int,
        seconds: float | None,
        prompt: Prompt | Sequence[Prompt] | None,
    ) -> "_Task":
        paradigm, tokenizer = pick_mode(loaded, mode), require_speech_tokenizer(loaded)
        spec = speech_spec(loaded, seconds)
        labels = torch.full((len(texts),), -1) if labels is None else labels
        if len(labels) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels: there must be a label a text")
        options = options or SampleOptions()
        check_request(loaded, labels, options, batch)
        prompts = [prompt] * len(texts) if isinstance(prompt, Prompt) else list(prompt or [])
        if prompts and len(prompts) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(prompts)} prompts: there must be one for all, or one a text")
        said = [f"{each.text} {text}".strip() for each, text in zip(prompts, texts)] if prompts else list(texts)
        conditions = text_values(loaded, said)
        known, given = _given(tokenizer, spec, prompts, loaded.generator.device)
        return cls(
            loaded, paradigm, tokenizer, options, spec, labels, conditions,
            torch.zeros(len(texts), dtype=torch.int64) if given is None else given, known,
        )  # fmt: skip

    def requests(self, seed: int, first_sample: int, batch: int) -> Iterator[tuple[slice, Request]]:
        """As `mmgen.sampling.samples.requests`."""
        device = self.loaded.generator.device
        for rows, request in requests(self.loaded, self.labels, seed, first_sample, batch, conditions=self.conditions):
            request = replace(request, grid=self.spec.grid)
            if self.known is not None:
                keep = torch.arange(self.spec.length) < self.given[rows, None]
                request = replace(request, known=self.known[rows], keep=keep.to(device))
            yield rows, request


@torch.no_grad()
def _given(
    tokenizer: AudioTokenizer, spec: TokenSpec, prompts: Sequence[Prompt], device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """Known tokens (B, N, ...) and how many of them there are, (B,)."""
    if not prompts:
        return None, None
    found: dict[int, Tensor] = {}
    for prompt in prompts:
        if id(prompt) in found:
            continue
        sound = prompt.sound.reshape(1, 1, -1).float().to(device)
        whole = sound.shape[2] // spec.stride
        if not 1 <= whole < spec.length:
            length, token = sound.shape[2] / tokenizer.sample_rate, spec.stride / tokenizer.sample_rate
            room = spec.length * token
            raise UserError(
                f"a prompt of {length:.2f} s must be at least a token of {token:g} s long, and leave room in the"
                f" {room:.2f} s of a row; choose another, or other --seconds"
            )
        found[id(prompt)] = tokenizer.encode(sound[..., : whole * spec.stride]).values[0]
    rows = [found[id(prompt)] for prompt in prompts]
    padded = [F.pad(row, (0, 0) * (row.dim() - 1) + (0, spec.length - len(row))) for row in rows]
    return torch.stack(padded), torch.tensor([len(row) for row in rows])

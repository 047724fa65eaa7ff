"""Samples from a loaded generator, in batches: what is wanted, what the sampler does, and what all results share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.core.modality import modality_of
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import NO_CLASS, Names
from mmgen.paradigms import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.base import ConditionValues
from mmgen.paradigms.canvas import real_positions, where
from mmgen.paradigms.guidance import require_droppable
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer


@dataclass(eq=False)
class SamplingTask:
    """Samples to be drawn, checked before anything runs. Sample i depends on (seed, i) and its own conditions alone, so
    that neither the batch size nor the number of samples changes it.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        mode: one of `loaded.paradigm.modes()`; may be None where there is only one.
        conditions: by name the values (B, ...), or a name or text for each sample, or a function of the number of a
            frame, see `mmgen.paradigms.Request`. Those that say nothing (-1, empty texts) may be named for generators
            that do not take them.
        options: steps, guidance and decoding.
        seed: with the sample's number, the key of all its randomness.
        first_sample: the number of the first one.
        batch: samples at a time.
        known: (1 or B, N, ...) tokens, of which `keep` says which ones stand (inpainting).
        keep: (1 or B, N) bool.
        frames: length of every sample, in frames or samples; that of training by default. More is a rollout.
        lengths: (B,) int64 the same for each sample, at most that; by default rows end by themselves where they can.
        progress: called after each state with the number of samples that are done; a started one counts by its tokens.

    Raises:
        UserError: an unknown mode, no tokenizer to decode with, a condition that the generator does not take, values
            out of range, guidance that it was not trained for, or a length that it cannot make.
    """

    loaded: Loaded
    mode: str | None
    conditions: Mapping[str, ConditionValues]
    options: SampleOptions = field(default_factory=SampleOptions)
    seed: int = 0
    first_sample: int = 0
    batch: int = 16
    known: Tensor | None = None
    keep: Tensor | None = None
    frames: int | None = None
    lengths: Tensor | None = None
    progress: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        generator, spec = self.loaded.generator, self.loaded.spec
        self.paradigm = pick_mode(self.loaded, self.mode)
        self.tokenizer = require_tokenizer(self.loaded)
        self.count = next(len(each) for each in self.conditions.values() if not callable(each))
        check_count(self.count, self.batch)
        self.spec: TokenSpec = spec if self.frames is None else spec.with_frames(self.frames)
        generator.require_grid(self.spec.grid)
        self.values = condition_values(self.loaded, self.conditions, self.spec.grid[0])
        check_guidance(self.loaded, self.values, self.options)
        if self.lengths is not None:
            longest, low, high = self.spec.frames(self.spec.grid[0]), int(self.lengths.min()), int(self.lengths.max())
            if not 1 <= low <= high <= longest:
                what = f"{modality_of(spec.modality).plural} have 1 to {longest} {spec.unit}"
                raise UserError(f"{what} in {self.loaded.path}, got {low} to {high}")

    def token_lengths(self, state: State, rows: slice) -> Tensor:
        """(b,) int64 tokens of each of these rows, on the CPU: all, as long as they have not ended."""
        if self.lengths is not None:
            return (self.lengths[rows] + self.spec.stride - 1) // self.spec.stride
        if state.lengths is not None:
            return state.lengths.cpu()
        return torch.full((len(state.tokens),), state.tokens.shape[1])

    def run(self) -> Iterator[tuple[slice, Iterator[State]]]:
        """Batch after batch: which samples, and the states of the sampler."""
        device, count = self.loaded.generator.device, self.count
        numbers = torch.arange(self.first_sample, self.first_sample + count)
        lengths = None if self.lengths is None else (self.lengths + self.spec.stride - 1) // self.spec.stride
        for start in range(0, count, self.batch):
            rows = slice(start, min(start + self.batch, count))
            known, keep, own = (
                None if x is None else x.expand(count, *x.shape[1:])[rows].to(device)
                for x in (self.known, self.keep, lengths)
            )
            values = {
                name: each[rows].to(device) if isinstance(each, Tensor) else each for name, each in self.values.items()
            }
            draws = Draws(self.seed, numbers[rows].to(device))
            yield rows, self._states(Request(draws, own, known, keep, self.spec.grid, values), start)

    @torch.no_grad()
    def _states(self, request: Request, before: int) -> Iterator[State]:
        for state in self.paradigm.sample(self.loaded.generator, request, self.options):
            if self.progress is not None:
                self.progress(before + request.rows * state.committed.double().mean().item())
            yield state

    def totals(self, last: Sequence[tuple[slice, State]], seconds: float) -> dict[str, Any]:
        """The fields of `Samples`, from the last state of each batch."""
        lengths = [self.token_lengths(state, rows) for rows, state in last]
        return {
            "tokens": torch.cat([ended_tokens(state.tokens, each).cpu() for (_, state), each in zip(last, lengths)]),
            "lengths": torch.cat(lengths),
            "steps": max(state.step for _, state in last),
            "forward_passes": max(state.forward_passes for _, state in last),
            "seconds": seconds,
        }


@dataclass(frozen=True, eq=False)
class Samples:
    """What came out, on the CPU.

    Args:
        tokens: (B, N) int64, (B, N, Q) residual ones, or (B, N, C) continuous ones; 0 behind the end of a row.
        lengths: (B,) int64 tokens of each row until its end.
        steps: states that the slowest batch went through.
        forward_passes: of the backbone, one after the other, for the slowest batch; a guided one is a doubled batch and
            counts once.
        seconds: wall clock for all batches, encoding and decoding included.
    """

    tokens: Tensor
    lengths: Tensor
    steps: int
    forward_passes: int
    seconds: float

    @property
    def tokens_per_forward(self) -> float:
        """Tokens of a row for each forward pass: 1 for token after token, more where several come at once, less where a
        token takes several steps of a diffusion. A residual token is one, whatever its levels; given tokens count.
        """
        return float(self.lengths.double().mean()) / self.forward_passes

    def record(self) -> dict[str, Any]:
        """What a record.json says of every kind of samples."""
        return {
            "steps": self.steps,
            "forward_passes": self.forward_passes,
            "tokens_per_forward": round(self.tokens_per_forward, 4),
            "seconds": round(self.seconds, 3),
            "seconds_per_sample": round(self.seconds / len(self.tokens), 5),
        }


def ended_tokens(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Tokens with zeros behind the end of each row, where they may be no code of the tokenizer."""
    return where(real_positions(tokens, lengths.to(tokens.device)), tokens, torch.zeros_like(tokens))


def condition_values(
    loaded: Loaded, conditions: Mapping[str, ConditionValues], frames: int | None = None
) -> dict[str, Tensor | Callable[[int], Tensor]]:
    """The values of the conditions that a generator takes, texts encoded, as for `SamplingTask`; `frames` are latents
    along time of each sample, those of training by default. Raises UserError for a condition that it does not take,
    unless it says nothing, and for values of another shape or out of range.
    """
    known, values = loaded.generator.conditions, {}
    for name, each in conditions.items():
        if name in known:
            values[name] = each if isinstance(each, Tensor) or callable(each) else known[name].encode(each)
            if isinstance(value := values[name], Tensor):
                try:
                    known[name].check(value, len(value), frames or loaded.spec.grid[0])
                except UserError as error:
                    raise UserError(f"{loaded.path}: {error}") from None
        elif callable(each) or any(each if not isinstance(each, Tensor) else (each >= 0).flatten()):
            raise UserError(f"{loaded.path} was trained without {name}: leave --{name} out")
    return values


def text_condition(loaded: Loaded) -> str | None:
    """The name of the condition that reads texts; None for a generator that reads none."""
    return next((name for name, each in loaded.generator.conditions.items() if each.reads_text), None)


def text_values(loaded: Loaded, texts: Sequence[str]) -> dict[str, ConditionValues]:
    """Texts as a condition of `SamplingTask`."""
    return {text_condition(loaded) or "text": texts}


def check_guidance(loaded: Loaded, values: Mapping[str, Any], options: SampleOptions) -> None:
    """Raises UserError where a generator cannot be guided so."""
    if options.guidance.scale == 1:
        return
    label, drop = values.get("class"), options.guidance.drop
    try:
        require_droppable(loaded.generator, options.guidance)
        if label is not None and (drop is None or "class" in drop) and bool((label < 0).any()):
            raise UserError("not every sample has a class")
    except UserError as error:
        reason = f"--cfg {options.guidance.scale} cannot guide {loaded.path}: {error}"
        raise UserError(f"{reason}; leave --cfg out") from None


def pick_mode(loaded: Loaded, mode: str | None) -> Paradigm:
    """The paradigm that samples in that mode. Raises UserError naming the modes that were trained."""
    modes = loaded.paradigm.modes()
    if mode is None and len(modes) == 1:
        return next(iter(modes.values()))
    if mode is None:
        raise UserError(f"{loaded.path} can sample in several ways: choose --mode {' or '.join(modes)}")
    if mode not in modes:
        raise UserError(
            f"{loaded.path} was not trained for --mode {mode}; it was for: {', '.join(modes)}{nearest(mode, modes)}"
        )
    return modes[mode]


def require_tokenizer(loaded: Loaded, modality: str | None = None) -> Tokenizer:
    """The tokenizer. Raises UserError where the run has none, or generates another modality."""
    own = loaded.spec.modality
    if modality is not None and own not in ("", modality):
        raise UserError(
            f"{loaded.path} generates {modality_of(own).plural}, not {modality_of(modality).plural}: choose another run"
        )
    if loaded.tokenizer is None:
        raise UserError(f"{loaded.path} has no tokenizer, so its tokens cannot be decoded; name one when you fit")
    return loaded.tokenizer


def class_labels(names: Sequence[str], count: int, loaded: Loaded) -> Tensor:
    """(count,) int64 labels that go round the named classes (names, numbers, or `none`); all classes in turn where none
    is named. Raises UserError for a class that there is not.
    """
    classes = len(loaded.generator.names("class"))
    numbers = name_numbers(names, "class", loaded) or list(range(classes)) or [NO_CLASS]
    return torch.tensor(numbers)[torch.arange(count) % len(numbers)]


def name_numbers(names: Sequence[str], condition: str, loaded: Loaded) -> list[int]:
    """The numbers of values of a condition that are named, or written out, or `none`. Raises UserError where there is
    none such.
    """
    vocabulary = Names(loaded.generator.names(condition))
    if not vocabulary.names and (named := [name for name in names if name != "none"]):
        raise UserError(f"{loaded.path} was trained without {condition}: leave --{condition} out (got {named[0]!r})")
    try:
        return [vocabulary.number(name) for name in names]
    except UserError as error:
        raise UserError(f"{loaded.path}: --{condition} {error}") from None


def check_count(count: int, batch: int) -> None:
    """Raises UserError unless there is at least one sample, and at least one at a time."""
    if count < 1 or batch < 1:
        raise UserError(
            f"at least one sample and a batch of at least 1 are needed, got --num {count} and --batch {batch}"
        )


def pick_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises UserError on a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        here = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise UserError(f"--device {name} is not available: this machine has {here}") from None
    return torch.device(name)

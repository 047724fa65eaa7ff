"""Samples from a loaded generator: labels to tokens to images, in batches, with progress and previews.

What `mmgen sample`, `evaluate`, `demo` and the page share. Sample i depends
on (seed, i) and its own label alone, so that neither the batch size nor the number of samples changes it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.paradigms import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.base import where
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer

_ELSEWHERE = {
    "video": ("clips", "rollout.sample_clips"),
    "audio": ("speech", "speech.speak"),
    "motion": ("motions", "moving.move"),
}
"""Modality -> what it makes, and the function that samples it."""


@dataclass(frozen=True, eq=False)
class Sampled:
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
) -> Sampled:
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

    Raises:
        UserError: an unknown mode, no tokenizer to decode with, a class out of range, guidance without a class, or
            tokens to keep that the paradigm cannot keep.
    """
    paradigm = pick_mode(loaded, mode)
    tokenizer = require_tokenizer(loaded)
    if loaded.spec.modality in _ELSEWHERE:
        made, function = _ELSEWHERE[loaded.spec.modality]
        raise UserError(f"{loaded.path} makes {made}, not images: sample it with mmgen.{function}")
    check_request(loaded, labels, options, batch)
    started, runs, images = time.perf_counter(), [], []
    for rows, request in requests(loaded, labels, seed, first_sample, batch, known, keep):
        states: list[State] = []
        for state in follow(paradigm, loaded, request, options, rows.start, progress):
            states[len(states) if keep_states else 0 :] = [state]
        runs.append(states)
        images.append(tokenizer.decode(Tokens(states[-1].tokens, loaded.spec.grid)).float().cpu())
    seconds = time.perf_counter() - started
    last = [states[-1] for states in runs]
    return Sampled(
        tokens=torch.cat([state.tokens.cpu() for state in last]),
        images=torch.cat(images),
        steps=max(state.step for state in last),
        forward_passes=max(state.forward_passes for state in last),
        seconds=seconds,
        states=_side_by_side(runs) if keep_states else None,
    )


def tokens_per_forward(tokens: float | Tensor, passes: int) -> float:
    """Tokens of a row for each forward pass of the backbone: 1 for token after token, more where several come at once,
    less where a token takes several steps of a diffusion. A residual token is one, whatever its levels; tokens that
    were given count too.

    Args:
        tokens: of a row; or of each, (B,), until their ends.
        passes: one after the other.
    """
    return float(torch.as_tensor(tokens).double().mean()) / passes


def requests(
    loaded: Loaded,
    labels: Tensor,
    seed: int = 0,
    first_sample: int = 0,
    batch: int = 64,
    known: Tensor | None = None,
    keep: Tensor | None = None,
) -> Iterator[tuple[slice, Request]]:
    """What is asked for, `batch` samples at a time: which rows of it, and the request on the generator's device.

    Arguments as for `sample_images`.
    """
    device, numbers = loaded.generator.device, torch.arange(first_sample, first_sample + len(labels))
    known, keep = (None if x is None else x.expand(len(labels), *x.shape[1:]) for x in (known, keep))

    def on_device(x: Tensor | None, rows: slice) -> Tensor | None:
        return None if x is None else x[rows].to(device)

    for start in range(0, len(labels), batch):
        rows = slice(start, min(start + batch, len(labels)))
        draws = Draws(seed, numbers[rows].to(device))
        yield rows, Request(labels[rows].to(device), draws, known=on_device(known, rows), keep=on_device(keep, rows))


@torch.no_grad()
def follow(
    paradigm: Paradigm,
    loaded: Loaded,
    request: Request,
    options: SampleOptions,
    before: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Iterator[State]:
    """The sampler's states, one request long.

    Args:
        paradigm: one of `loaded.paradigm.modes()`.
        loaded: whose generator is sampled.
        request: which samples.
        options: steps, guidance and decoding.
        before: samples that are done already.
        progress: called after each state with the number of samples that are done; a started one counts by its tokens.
    """
    for state in paradigm.sample(loaded.generator, request, options):
        if progress is not None:
            progress(before + len(request.labels) * state.committed.double().mean().item())
        yield state


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


def require_tokenizer(loaded: Loaded) -> Tokenizer:
    """The tokenizer. Raises UserError where the run has none."""
    if loaded.tokenizer is None:
        raise UserError(f"{loaded.path} has no tokenizer, so its tokens cannot become images; name one when you fit")
    return loaded.tokenizer


def class_labels(names: Sequence[str], count: int, loaded: Loaded) -> Tensor:
    """(count,) int64 labels that go round the named classes; all classes in turn where none is named.

    Args:
        names: class names, or numbers, or `none` for samples without a class.
        count: how many samples.
        loaded: whose classes they are.

    Raises:
        UserError: a class that there is not.
    """
    classes = loaded.generator.classes
    numbers = [_class_number(name, loaded) for name in names] or list(range(classes)) or [-1]
    return torch.tensor(numbers)[torch.arange(count) % len(numbers)]


def check_request(loaded: Loaded, labels: Tensor, options: SampleOptions, batch: int) -> None:
    """Raises UserError where `sample_images` would: before anything is written or run."""
    check_count(len(labels), batch)
    classes = loaded.generator.classes
    if labels.max() >= classes or labels.min() < -1:
        wrong = labels[(labels >= classes) | (labels < -1)][0]
        known_classes = f"classes 0 to {classes - 1}" if classes else "no classes"
        raise UserError(f"class {wrong} is out of range: {loaded.path} knows {known_classes}")
    if options.guidance.scale != 1:
        reasons = {
            "it was trained without classes": not (classes or loaded.generator.actions or loaded.generator.text),
            "it was trained without condition dropout": loaded.generator.conditioning.dropout == 0,
            "not every sample has a class": bool(classes and (labels < 0).any()),
        }
        for reason in (reason for reason, holds in reasons.items() if holds):
            raise UserError(f"--cfg {options.guidance.scale} cannot guide {loaded.path}: {reason}; leave --cfg out")


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


def _class_number(name: str, loaded: Loaded) -> int:
    classes, names = loaded.generator.classes, loaded.facts.class_names
    if name == "none":
        return -1
    if not classes:
        raise UserError(f"{loaded.path} was trained without classes: leave --class out (got {name!r})")
    if name in names:
        return names.index(name)
    if name.lstrip("-").isdigit():
        if 0 <= int(name) < classes:
            return int(name)
        raise UserError(f"class {name} is out of range: {loaded.path} knows classes 0 to {classes - 1}")
    known = ", ".join(names) or f"0 to {classes - 1}"
    raise UserError(f"class {name!r} is unknown: {loaded.path} knows {known}{nearest(name, names)}")


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

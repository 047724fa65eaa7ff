"""Samples from a loaded generator: labels to tokens to images, in batches, with progress and previews.

What `mmgen sample`, `evaluate`, `demo` and the page share. Sample i depends
on (seed, i) and its own label alone, so that neither the batch size nor the number of samples changes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.paradigms import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.guidance import require_droppable
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer


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
    conditions: Mapping[str, Tensor] | None = None,
) -> Iterator[tuple[slice, Request]]:
    """What is asked for, `batch` samples at a time: which rows of it, and the request on the generator's device.

    Arguments as for `sample_images`, and the values (B, ...) of further conditions by name.
    """
    given = dict(conditions or {})
    if "class" in loaded.generator.conditions:
        given["class"] = labels
    device, numbers = loaded.generator.device, torch.arange(first_sample, first_sample + len(labels))
    known, keep = (None if x is None else x.expand(len(labels), *x.shape[1:]) for x in (known, keep))

    def on_device(x: Tensor | None, rows: slice) -> Tensor | None:
        return None if x is None else x[rows].to(device)

    for start in range(0, len(labels), batch):
        rows = slice(start, min(start + batch, len(labels)))
        draws = Draws(seed, numbers[rows].to(device))
        values = {name: each[rows].to(device) for name, each in given.items()}
        yield rows, Request(draws, known=on_device(known, rows), keep=on_device(keep, rows), conditions=values)


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
            progress(before + request.rows * state.committed.double().mean().item())
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
        by_class = options.guidance.drop is None or "class" in options.guidance.drop
        try:
            require_droppable(loaded.generator, options.guidance)
            if classes and by_class and bool((labels < 0).any()):
                raise UserError("not every sample has a class")
        except UserError as error:
            reason = f"--cfg {options.guidance.scale} cannot guide {loaded.path}: {error}"
            raise UserError(f"{reason}; leave --cfg out") from None


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

"""The options of sampling, for every command that samples: described once, by the classes that they end up in.

A command takes them as `**options` under `@takes_sampling`, which puts the fields of `SampleOptions`, `Guidance` and
`Decoding` into its signature and its docstring, with their types, defaults and descriptions.
"""

import dataclasses
from typing import Any, Literal

from mmgen.core.command_options import Command, Options, dataclass_options, default_options, show_options
from mmgen.paradigms import Decoding, Guidance, SampleOptions


@dataclasses.dataclass(frozen=True)
class _Options:
    """What a command calls the fields of `SampleOptions` and `Guidance`.

    Args:
        steps: network steps: an image (masked, diffusion) or a block; ar takes one a token.
        cfg: guidance scale s in u + s (c - u): 1 is the plain conditional model, 0 the unconditional one.
        cfg_schedule: constant, or linear from 1 up to the scale over the steps.
        cfg_drop: conditions that the guidance strengthens, separated by commas, such as class,text; all by default.
        context_noise: 0 to 1, noise on a finished block or frame that later ones see (block modes), against drift.
        parallel_blocks: blocks or frames that are generated at the same time (block modes trained on corrupted
            histories).
    """

    steps: int | None = SampleOptions.steps
    cfg: float = Guidance.scale
    cfg_schedule: Literal["constant", "linear"] = Guidance.schedule
    cfg_drop: str | None = None
    context_noise: float | None = SampleOptions.context_noise
    parallel_blocks: int = SampleOptions.parallel_blocks


_OPTIONS: Options = dataclass_options(_Options) | dataclass_options(Decoding)

SAMPLING: dict[str, Any] = {option: parameter.default for option, (parameter, _) in _OPTIONS.items()}
"""Option -> its default."""


def takes_sampling(run: Command) -> Command:
    """Show the options of sampling in the place of a command's `**options`, to whoever reads its signature."""
    return show_options(run, _OPTIONS)


def all_arguments(arguments: dict[str, Any], command: str | None = None) -> dict[str, Any]:
    """All arguments of a command: `locals()` at its start, with each option in `options` by its own name.

    Args:
        arguments: names to values.
        command: whose options of modalities it takes, as for `modality_options`; None for none.
    """
    named = {name: value for name, value in arguments.items() if name != "options"}
    more = {} if command is None else default_options(command)
    return named | SAMPLING | more | arguments["options"]


def sample_options(arguments: dict[str, Any]) -> SampleOptions:
    """Options as on the command line, as the sampler takes them; others are ignored, missing ones have their default.

    Raises:
        UserError: one is out of range.
    """
    chosen = SAMPLING | arguments
    rules = {field.name: chosen[field.name] for field in dataclasses.fields(Decoding)}
    drop = chosen["cfg_drop"]
    names = None if drop is None else tuple(name.strip() for name in drop.split(","))
    guidance = Guidance(chosen["cfg"], chosen["cfg_schedule"], names)
    return SampleOptions(
        chosen["steps"], guidance, Decoding(**rules), chosen["context_noise"], chosen["parallel_blocks"]
    )


def settings(arguments: dict[str, Any]) -> str | None:
    """The options but `steps` that are not the default ones, as `cfg 2.0, top_k 8`."""
    changed = {name: arguments[name] for name, value in SAMPLING.items() if arguments[name] != value}
    return ", ".join(f"{name} {value}" for name, value in changed.items() if name != "steps") or None

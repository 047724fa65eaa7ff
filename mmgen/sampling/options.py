"""The options of sampling, for every command that samples: said once, by the classes that they end up in.

A command takes them as `**sampling` under `@takes_sampling`, which puts the fields of `SampleOptions`, `Guidance` and
`Decoding` into its signature and its docstring, with their types, defaults and descriptions.
"""

import dataclasses
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, get_type_hints

import docstring_parser

from mmgen.paradigms import Decoding, Guidance, SampleOptions

Command = TypeVar("Command", bound=Callable[..., None])

_RENAMED = {
    "steps": (SampleOptions, "steps", "network steps: an image (masked, diffusion) or a block; ar takes one a token."),
    "cfg": (
        Guidance,
        "scale",
        "guidance scale s in u + s (c - u): 1 is the plain conditional model, 0 the unconditional one.",
    ),
    "cfg_schedule": (Guidance, "schedule", "constant, or linear from 1 up to the scale over the steps."),
    "context_noise": (
        SampleOptions,
        "context_noise",
        "0 to 1, noise on a finished block or frame that later ones see (block modes), against drift.",
    ),
    "together": (
        SampleOptions,
        "together",
        "blocks or frames made at the same time (block modes trained on corrupted histories).",
    ),
}
"""Option -> class, field, and what it is in a command's help."""


def _sampling() -> dict[str, tuple[Parameter, str]]:
    """Option -> how it is taken, and what it is."""
    found = {}
    for option, (owner, name, about) in _RENAMED.items():
        found[option] = (_parameter(option, owner, name), about)
    described = {
        each.arg_name: each.description or "" for each in docstring_parser.parse(Decoding.__doc__ or "").params
    }
    for field in dataclasses.fields(Decoding):
        found[field.name] = (_parameter(field.name, Decoding, field.name), " ".join(described[field.name].split()))
    return found


def _parameter(option: str, owner: type, name: str) -> Parameter:
    default = next(field.default for field in dataclasses.fields(owner) if field.name == name)
    return Parameter(option, Parameter.KEYWORD_ONLY, default=default, annotation=get_type_hints(owner)[name])


_OPTIONS = _sampling()

SAMPLING: dict[str, Any] = {option: parameter.default for option, (parameter, _) in _OPTIONS.items()}
"""Option -> its default."""


def takes_sampling(run: Command) -> Command:
    """Show the options of sampling in the place of a command's `**sampling`, to whoever reads its signature."""
    own = [each for each in signature(run).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    shown = [*own, *(parameter for parameter, _ in _OPTIONS.values())]
    about = "".join(f"        {option}: {text}\n" for option, (_, text) in _OPTIONS.items())
    run.__signature__ = Signature(shown, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown} | {"return": None}
    run.__doc__ = f"{(run.__doc__ or '').rstrip()}\n{about}    "
    return run


def all_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What a command was called with: `locals()` at its start, with each option of sampling by its own name."""
    return {name: value for name, value in given.items() if name != "sampling"} | SAMPLING | given["sampling"]


def sample_options(given: dict[str, Any]) -> SampleOptions:
    """Options as on the command line, as the sampler takes them; others are ignored, missing ones have their default.

    Raises:
        UserError: one is out of range.
    """
    chosen = SAMPLING | given
    rules = {field.name: chosen[field.name] for field in dataclasses.fields(Decoding)}
    guidance = Guidance(chosen["cfg"], chosen["cfg_schedule"])
    return SampleOptions(chosen["steps"], guidance, Decoding(**rules), chosen["context_noise"], chosen["together"])


def settings(given: dict[str, Any]) -> str | None:
    """The options that are not the default ones, as `cfg 2.0, top_k 8`; steps are told elsewhere."""
    changed = [f"{name} {given[name]}" for name in SAMPLING if name != "steps" and given[name] != SAMPLING[name]]
    return ", ".join(changed) or None

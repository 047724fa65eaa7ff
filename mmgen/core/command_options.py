"""Options of commands as fields of dataclasses: types, defaults and descriptions are written once."""

import dataclasses
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, get_type_hints

import docstring_parser

from mmgen.core.errors import UserError
from mmgen.core.modality import Modality, all_modalities

Command = TypeVar("Command", bound=Callable[..., None])

Options = dict[str, tuple[Parameter, str]]
"""Option -> how it is taken, and what it is."""

_MODALITY_OPTIONS = "_modality_options"


def dataclass_options(owner: type) -> Options:
    """The fields of a dataclass, described by its docstring."""
    described = {each.arg_name: each.description or "" for each in docstring_parser.parse(owner.__doc__ or "").params}
    types = get_type_hints(owner)
    return {
        field.name: (
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]),
            " ".join(described.get(field.name, "").split()),
        )
        for field in dataclasses.fields(owner)
    }


def modality_options(command: str) -> Options:
    """The options of a command (`sample`, ...) that some modalities have, each described for each of these."""
    options: Options = {}
    for modality in all_modalities():
        for name, (parameter, about) in _own_options(modality, command).items():
            before = options[name][1] + " " if name in options else ""
            options[name] = parameter, f"{before}{modality.plural.capitalize()}: {about}"
    return options


def show_options(run: Command, options: Options) -> Command:
    """Show options in the place of a command's `**...`, to whoever reads its signature and its docstring."""
    own = [each for each in signature(run).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    taken = {each.name for each in own}
    new = {name: each for name, each in options.items() if name not in taken}
    every = [*own, *(parameter for parameter, _ in new.values())]
    about = "".join(f"        {name}: {text}\n" for name, (_, text) in new.items())
    run.__signature__ = Signature(every, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in every} | {"return": None}
    run.__doc__ = f"{(run.__doc__ or '').rstrip()}\n{about}    "
    return run


def takes_modality_options(command: str) -> Callable[[Command], Command]:
    """Show the options of a command that are for some modalities only in the place of its `**...`."""

    def show(run: Command) -> Command:
        setattr(run, _MODALITY_OPTIONS, command)
        return show_options(run, modality_options(command))

    return show


def update_modality_options(run: Command) -> Command:
    """Show the options of modalities too that were registered after the command was imported."""
    command = getattr(run, _MODALITY_OPTIONS, None)
    return run if command is None else show_options(run, modality_options(command))


def default_options(command: str) -> dict[str, Any]:
    """Option of some modality -> its default."""
    return {name: parameter.default for name, (parameter, _) in modality_options(command).items()}


def require_own_options(command: str, modality: Modality, arguments: dict[str, Any], path: str) -> dict[str, Any]:
    """The options that the modality of a run has. Raises UserError, naming the run's path, where others are used."""
    own = _own_options(modality, command)
    for name, (parameter, _) in modality_options(command).items():
        if name not in own and arguments.get(name, parameter.default) != parameter.default:
            others = " and ".join(each.plural for each in all_modalities() if name in _own_options(each, command))
            raise UserError(f"--{name} is for {others}, and {path} is of {modality.plural}: leave it out")
    return {name: arguments[name] for name in own}


def _own_options(modality: Modality, command: str) -> Options:
    owner: type = getattr(modality, f"{command}_options")
    return dataclass_options(owner)

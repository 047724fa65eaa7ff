"""Modules from the config of a run: typed parsing of the subtree that describes them, and of nothing else."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.model.conditions import ConditionFactory, build_conditions
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.store.allowed_imports import VARIABLE, allowed_in_models, is_within, restrict_imports
from mmgen.store.config_errors import explain
from mmgen.store.option_values import check_values
from mmgen.tokenizers import Tokenizer


@torch.random.fork_rng(devices=[])  # loading must not change what a run initialises after it
def build_tokenizer(init_args: dict[str, Any], where: str) -> Tokenizer:
    """An untrained tokenizer.

    Args:
        init_args: of the module that trained it; only `tokenizer` is read.
        where: the config file, for errors.

    Raises:
        UserError: an argument that the class does not have, or a class that is not mmgen's.
    """
    return _instantiate(_parser("tokenizer", Tokenizer), {"tokenizer": init_args["tokenizer"]}, where)["tokenizer"]


@torch.random.fork_rng(devices=[])
def build_generator(init_args: dict[str, Any], facts: Facts, where: str) -> tuple[Generator, Paradigm]:
    """An untrained generator and its paradigm.

    Args:
        init_args: of the module that trained it; the generator's own arguments and `paradigm` are read.
        facts: what the data said of the tokens that it was trained on.
        where: the config file, for errors.

    Raises:
        UserError: an argument that a class does not have, or a class that is not mmgen's.
    """
    parser = _parser("paradigm", Paradigm)
    names = parser.add_class_arguments(Generator, skip={"spec", "conditions", "parts", "start"}, instantiate=False)
    parser.add_argument("--conditions", type=dict[str, ConditionFactory] | None)
    own = ("paradigm", "conditions", *names)
    made = _instantiate(parser, {name: init_args[name] for name in own if name in init_args}, where)
    paradigm = made.pop("paradigm")
    with _one_line(where):
        assert facts.spec is not None
        backbone = made["backbone"]
        made["conditions"] = build_conditions(made.get("conditions"), facts.conditions, facts.spec, backbone.dim)
        parts = paradigm.parts(facts.spec, backbone)
        generator = Generator(spec=facts.spec, parts=parts, start=paradigm.starts, **made)
        paradigm.require(generator)
        return generator, paradigm


def build_paradigm(init_args: dict[str, Any], where: str) -> Paradigm:
    """The paradigm of a generator, without its network. Raises UserError as `build_generator` does."""
    return _instantiate(_parser("paradigm", Paradigm), {"paradigm": init_args["paradigm"]}, where)["paradigm"]


def _parser(name: str, kind: type) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{name}", type=kind, required=True)
    return parser


def _instantiate(parser: ArgumentParser, arguments: dict[str, Any], where: str) -> dict[str, Any]:
    restrict_imports()
    _require_own(arguments, where)
    try:
        parsed = parser.parse_object(arguments)
    except ArgumentError as error:
        raise UserError(f"{where}: {' '.join(explain(str(error), parser).split())}") from None
    _require_own(parsed.as_dict(), where)  # a short name has become a path now
    with _one_line(where):
        check_values(parsed.as_dict(), None)
        return dict(vars(parser.instantiate(parsed)))


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Whatever the values of a config make a constructor raise becomes a UserError."""
    try:
        yield
    except Exception as error:
        what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: {' '.join(what.split())}") from error


def _require_own(arguments: dict[str, Any], where: str) -> None:
    packages = allowed_in_models()
    for path in _import_paths(arguments):
        if not is_within(path, packages):
            raise UserError(
                f"{where} names {path}: only classes of {', '.join(packages)} are loaded, since importing others could"
                f" run any code ({VARIABLE} adds packages that you trust)"
            )


def _import_paths(value: Any) -> Iterator[str]:
    """Every string that a typed parser could take for a class: dotted, its first part a module that can be imported."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _import_paths(item)
    elif isinstance(value, str):
        first, *rest = value.split(".")
        dotted = rest and all(part.isidentifier() for part in (first, *rest))
        if dotted and (first in sys.modules or importlib.util.find_spec(first) is not None):
            yield value

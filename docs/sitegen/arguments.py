"""What commands and classes take: tables from signatures and docstrings."""

import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from lightning import LightningModule
from mkdocs.exceptions import PluginError

import mmgen
from mmgen.data import DataModule
from mmgen.data.joint import JointData
from mmgen.data.sources import Source
from mmgen.modalities.speech.tokenizers.vocoder import Vocoder
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.mixers import Mixer
from mmgen.model.conditions import Condition
from mmgen.model.heads import Head
from mmgen.paradigms import NoiseProcess, Paradigm, Split
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.losses import Adversarial, Balancer, Discriminator, Perceptual, Spectral
from mmgen.tokenizers.quantizers import Quantizer
from mmgen.training.joint_module import Member

FILLED_IN: dict[type, tuple[str, ...]] = {
    LightningModule: ("facts", "seed"),  # by the command line (mmgen/apps/cli/fit.py)
    Condition: ("vocabulary", "spec", "dim"),  # by the generator
    Mixer: ("shape",),  # by the backbone
}
"""Base -> the arguments that no recipe gives."""

KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "training": ("What is trained", (LightningModule, Member)),
    "paradigms": ("Paradigms, splits and noise processes", (Paradigm, Split, NoiseProcess)),
    "backbone": ("The network", (Transformer,)),
    "mixers": ("Mixers of a block", (Mixer,)),
    "heads": ("Heads", (Head,)),
    "conditions": ("Conditions", (Condition,)),
    "tokenizers": ("Tokenizers", (Tokenizer, Vocoder)),
    "quantizers": ("Quantizers", (Quantizer,)),
    "losses": ("Losses of tokenizers", (Perceptual, Spectral, Adversarial, Discriminator, Balancer)),
    "data": ("Data sets", (DataModule, JointData, Source)),
}
"""Anchor -> title, and the bases of the classes that a recipe may name."""


def of_class(name: str, _: str) -> str:
    """Table of a class's arguments; the class by its name alone."""
    return _table(_class(name))


def parts(_: str, page: str) -> str:
    """Every class that a recipe may name, by kind."""
    lines = []
    for kind, (title, _bases) in KINDS.items():
        lines += [f"## {title} {{#{kind}}}", ""]
        for found in _classes(kind):
            about = docstring_parser.parse(inspect.getdoc(found) or "")
            lines += [f"### {found.__name__} {{#{found.__name__}}}", "", f"`{found.__module__}`", ""]
            lines += [paragraphs(about), "", _table(found), ""]
    return "\n".join(lines)


def paragraphs(about: docstring_parser.Docstring) -> str:
    """What a docstring says before its arguments."""
    said = "\n\n".join(filter(None, [about.short_description, about.long_description]))
    if about.short_description and about.long_description and not about.blank_after_short_description:
        said = f"{about.short_description} {about.long_description}"
    return "\n\n".join(plain(part) for part in said.split("\n\n"))


def rows(function: Callable[..., Any], said: dict[str, str], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """(name, type, default, description) of each parameter."""
    hints = get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = "" if parameter.default is parameter.empty else value(parameter.default)
        kind = type_name(hints.get(parameter.name, parameter.annotation))
        yield f"{prefix}{parameter.name}", kind, default, plain(said.get(parameter.name, ""))


def table(head: str, found: Iterable[tuple[str, ...]]) -> str:
    """Markdown of rows of (name, type, default, description)."""
    lines = [f"| `{name}` | {kind} | {default} | {text} |" for name, kind, default, text in found]
    return "\n".join([f"| {head} | type | default | what it does |", "|---|---|---|---|", *lines, ""]) if lines else ""


def described(owner: Any) -> dict[str, str]:
    """Argument -> description in a docstring."""
    about = docstring_parser.parse(inspect.getdoc(owner) or "")
    return {each.arg_name: each.description or "" for each in about.params}


def type_name(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in (None, type(None)):
        return "null"
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(each) for each in inner)
    if origin is tuple:
        return f"({', '.join('...' if each is Ellipsis else type_name(each) for each in inner)})"
    if origin is dict:
        return f"{type_name(inner[1])} by name"
    if origin is Callable:
        return type_name(inner[-1])
    if origin is not None and inner:
        return f"list of {type_name(inner[0])}"
    return str(getattr(kind, "__name__", kind))


def value(default: Any) -> str:
    """A default as YAML has it."""
    if default is None or isinstance(default, bool):
        return {None: "`null`", True: "`true`", False: "`false`"}[default]
    return f"`{list(default) if isinstance(default, tuple) else default}`"


def plain(text: str) -> str:
    """One line of a docstring as Markdown: only its code spans mean something."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([*_<\[|])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "".join(parts)


def _table(found: type) -> str:
    hidden = next((names for base, names in FILLED_IN.items() if issubclass(found, base)), ("seed",))
    arguments = [row for row in rows(found.__init__, described(found)) if row[0] not in hidden]
    return table("argument", arguments) or "It takes no arguments.\n"


def _class(name: str) -> type:
    found = next((each for kind in KINDS for each in _classes(kind) if each.__name__ == name), None)
    if found is None:
        raise PluginError(f"a recipe cannot name a class {name}")
    return found


@lru_cache
def _classes(kind: str) -> list[type]:
    """The classes of a kind, wherever they are, that a recipe may name."""
    found = [
        member
        for module in _modules()
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__ == module.__name__ and _nameable(member, kind)
    ]
    return sorted(found, key=lambda each: (each.__module__, each.__name__))


@lru_cache
def _modules() -> list[types.ModuleType]:
    """All of mmgen that a recipe may name a class of: nothing but its programs stays out."""
    names = (each.name for each in pkgutil.walk_packages(mmgen.__path__, "mmgen."))
    return [import_module(name) for name in names if name.split(".")[1] not in ("apps", "tools")]


def _nameable(found: type, kind: str) -> bool:
    bases = KINDS[kind][1]
    return issubclass(found, bases) and not inspect.isabstract(found)

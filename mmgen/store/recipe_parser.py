"""How the parser of recipes (jsonargparse) reads: strictly, and nothing of one class for another."""

from enum import Enum
from typing import Any

import yaml
from jsonargparse import Namespace, _typehints, get_loader, set_loader

from mmgen.core.yaml_text import load_strictly
from mmgen.store.allowed_imports import restrict_imports

_discard_unknown = _typehints.discard_init_args_on_class_path_change


def set_up_parser() -> None:
    """Set the parser up, for the rest of the process: it imports only what is allowed, refuses what YAML hides in files
    of parts and in values on the command line too, and gives a part of another class the options of that class alone.
    """
    restrict_imports()
    set_loader("omegaconf+", _load, (yaml.YAMLError,))
    _typehints.discard_init_args_on_class_path_change = _discard_all


def without_enums(value: Any) -> Any:
    """A parsed recipe with texts in the place of members of enumerations of texts, as some defaults of Lightning's are:
    the parser can write these only as texts, and takes them for these.
    """
    if isinstance(value, Namespace):
        for key, item in vars(value).items():
            setattr(value, key, without_enums(item))
    if isinstance(value, dict | list):
        items: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            value[key] = without_enums(item)
    return value.value if isinstance(value, Enum) and isinstance(value, str) else value


def _load(value: str) -> Any:
    """As the parser loads; a text such as `{a}` or `a:` stays one."""
    strict, plain = load_strictly(value), get_loader("yaml")(value)
    return strict if isinstance(plain, dict | list) else plain


def _discard_all(parser: Any, old: Any, new: Any) -> None:
    """The parser itself keeps options of the old class that the new one has by the same name, such as a causal mask for
    `Masked`.
    """
    if not old or "init_args" not in old:
        return
    before, after = (str(each["class_path"]).rpartition(".")[2] for each in (old, new))
    if before == after:
        _discard_unknown(parser, old, new)
    else:
        old["init_args"] = type(old["init_args"])()

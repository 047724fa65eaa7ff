"""References of a recipe to the environment, `${oc.env:NAME}`: a run uses their values, and its folder, which may be
shared, keeps the references.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmgen.core.errors import UserError
from mmgen.core.yaml_text import load_strictly, parse_yaml

_NAME = re.compile(r"\$\{\s*oc\.env\s*:\s*['\"]?([^,}'\"]+?)['\"]?\s*[,}]")
_LONG = 8  # characters of a value that no other text holds by chance
_REBUILT = {"tokenizer", "paradigm", "backbone", "conditions", "positions", "head"}


class Reference(NamedTuple):
    """An entry of a recipe that refers to the environment: its keys from the top, and its text."""

    keys: tuple[str, ...]
    text: str


def find_references(recipes: Iterable[Any], options: Sequence[str]) -> list[Reference]:
    """Those in the contents of files, and in options of a command line."""
    references = [each for recipe in recipes for each in _within(recipe, ())]
    for number, word in enumerate(options):
        name, equals, value = word.partition("=")
        if not equals and word.startswith("--"):
            value = options[number + 1] if number + 1 < len(options) else ""
        if word.startswith("--") and _NAME.search(value):
            try:
                content = load_strictly(value)
            except Exception:  # `{` and the like may begin a text
                content = value
            references += _within(content, tuple(name.removeprefix("--").split(".")))
    return references


def require_no_references(references: Iterable[Reference]) -> None:
    """Raises UserError where the network that a run trains is described by one: its folder must describe it alone."""
    for keys, text in references:
        if keys[:1] == ("model",) and _REBUILT & {*keys}:
            raise UserError(f"{'.'.join(keys)} is {text}, and the folder of a run must say it: write the value itself")


def restore_references(config: str, references: Sequence[Reference], where: str) -> str:
    """The text of a config with references in the place of their values, also where others refer to these."""
    if not references:
        return config
    resolved = [(each, _resolved(each.text)) for each in references]
    names = {name for each in references for name in _NAME.findall(each.text)}
    secrets = {name: value for name in names if len(value := os.environ.get(name, "")) >= _LONG}

    def restored(tree: Any, key: str) -> Any:
        if isinstance(tree, dict):
            return {name: restored(value, name) for name, value in tree.items()}
        if isinstance(tree, list):
            return [restored(value, key) for value in tree]
        for reference, values in resolved:
            if reference.keys[-1:] == (key,) and any(type(each) is type(tree) and each == tree for each in values):
                return reference.text
        if isinstance(tree, str):
            for name, value in secrets.items():
                tree = tree.replace(value, f"${{oc.env:{name}}}")
        return tree

    return yaml.safe_dump(restored(parse_yaml(config, where), ""), sort_keys=False, allow_unicode=True)


def _within(tree: Any, keys: tuple[str, ...]) -> Iterator[Reference]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _within(value, (*keys, str(key)))
    elif isinstance(tree, list):
        for value in tree:
            yield from _within(value, keys)
    elif isinstance(tree, str) and _NAME.search(tree):
        yield Reference(keys, tree)


def _resolved(text: str) -> list[Any]:
    """What a reference stands for: the text, and what a parser makes of it."""
    try:
        value = OmegaConf.to_container(OmegaConf.create({"value": text}), resolve=True)["value"]  # type: ignore[index,call-overload]
    except OmegaConfBaseException:  # it refers to other entries too
        return []
    try:
        return [value, load_strictly(value)] if isinstance(value, str) else [value]
    except Exception:
        return [value]

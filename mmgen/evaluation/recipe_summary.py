"""The parts of each recipe, read from its YAML and its card: nothing heavy is imported."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mmgen.core.modality import modality_of_source
from mmgen.core.yaml_text import parse_yaml
from mmgen.evaluation.card import KINDS, faults, unmeasured
from mmgen.store.recipes import recipes_root
from mmgen.store.results import RESULTS

SYSTEM = re.compile(r"^# System: (.+)$", re.MULTILINE)


def summarise_recipes() -> list[dict[str, Any]]:
    """One entry for each recipe, sorted by name."""
    configs = [config for kind in KINDS for config in recipes_root().glob(f"{kind}/*/config.yaml")]
    return sorted(map(summarise_recipe, configs), key=lambda entry: str(entry["name"]))


def summarise_recipe(config: Path) -> dict[str, Any]:
    """`name` and `kind` (tokenizer, experiment) of one recipe; `modality`, `paradigm`, `mask`, `tokenizer` and `head`,
    each a list of class names, names of masks, or run folders, since a recipe may have several modes or members;
    `system`, the published one that it follows, or None; and `card`, of `card_state`. A mask that the recipe leaves out
    is its paradigm's default; without a `head`, tokens have that of their kind.
    """
    text = config.read_text(encoding="utf-8")
    recipe, system = parse_yaml(text, str(config)), SYSTEM.search(text)
    model, data = recipe["model"]["init_args"], recipe["data"]
    paradigms = [each for part in _find(model, "paradigm") for each in _members(part)]
    masks = [_mask(each) for each in paradigms] + [_join(mask) for mask in _find(model.get("tokenizer"), "mask")]
    folders = [Path(folder).name for folder in _find(data, "tokenizer")]
    return {
        "name": config.parent.name,
        "kind": config.parents[1].name.removesuffix("s"),
        "modality": _unique(modality_of_source(_class_name(source)) for source in _find(data, "source")),
        "paradigm": _unique(map(_class_name, paradigms)),
        "mask": _unique(masks),
        "tokenizer": _unique([*map(_class_name, _find(model, "tokenizer")), *folders]),
        "head": _unique(_class_name(head) for head in _find(model, "head") if isinstance(head, dict)),
        "system": None if system is None or system[1] == "none" else system[1],
        "card": card_state(config.parent),
    }


def card_state(folder: Path) -> str:
    """`measured`; `unmeasured`, without figures; or `stale`, where the card does not agree with its figures."""
    if unmeasured(folder) or not (folder / RESULTS).exists():
        return "unmeasured"
    return "stale" if faults(folder) else "measured"


def _find(node: Any, key: str) -> Iterator[Any]:
    """Values of that key, at any depth, but not inside each other."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            else:
                yield from _find(value, key)
    elif isinstance(node, list):
        for each in node:
            yield from _find(each, key)


def _class_name(part: Any) -> str:
    return str(part["class_path"] if isinstance(part, dict) else part).rsplit(".", 1)[-1]


def _members(paradigm: Any) -> list[Any]:
    """The paradigm, or those that a mixture holds."""
    members = paradigm.get("init_args", {}).get("members") if isinstance(paradigm, dict) else None
    return list(members.values()) if members else [paradigm]


def _mask(paradigm: Any) -> str | None:
    options = paradigm.get("init_args", {}) if isinstance(paradigm, dict) else {}
    return _join(options.get("mask")) or _default_mask(_class_name(paradigm), options.get("history", "complete"))


def _join(mask: str | list[str] | None) -> str | None:
    return ", ".join(mask) if isinstance(mask, list) else mask


def _default_mask(paradigm: str, history: str) -> str | None:
    """The mask of a paradigm whose recipe names none, read from the source of the class."""
    name = _declared_masks().get(paradigm)
    if name == "None":  # blockwise
        return "skip_causal" if history == "complete" else "block_causal"
    return name and name.strip('"')


@cache
def _declared_masks() -> dict[str, str]:
    """Class -> default of its argument `mask`, as it is written."""
    sources = (file.read_text(encoding="utf-8") for file in (Path(__file__).parents[1] / "paradigms").rglob("*.py"))
    classes = (part for source in sources for part in re.split(r"^class ", source, flags=re.MULTILINE)[1:])
    pairs = ((re.match(r"\w+", each), re.search(r"\bmask: MaskName[^=\n]* = (\"\w+\"|None)", each)) for each in classes)
    return {name[0]: default[1] for name, default in pairs if name and default}


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))

"""A recipe as the planner reads it: the generator, one block deep, and the facts of its data."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import mmgen.model.backbone
import mmgen.paradigms  # noqa: F401  (a short class name is found among the classes that were imported)
from mmgen.core.errors import UserError, require
from mmgen.core.facts import Facts
from mmgen.core.modality import import_parts
from mmgen.core.tokens import Kind, TokenSpec
from mmgen.core.vocabulary import Names, Vocabulary
from mmgen.core.yaml_text import parse_yaml, read_yaml
from mmgen.data.build import build_source
from mmgen.data.encoded import encoded_spec
from mmgen.data.sources import Source
from mmgen.data.sources.shards import META, Meta
from mmgen.model.backbone.transformer import preset
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.store.members import members_of
from mmgen.store.rebuild import build_generator, build_tokenizer
from mmgen.store.recipes import find_recipe, recipes_root


@dataclass(frozen=True, eq=False)
class Recipe:
    """What is planned: its file, its content with references resolved, the facts of its data, and notes on what was
    assumed, a sentence each.
    """

    path: Path
    config: dict[str, Any]
    facts: Facts
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, name: str, changes: list[str], spec: str | None, classes: int | None) -> "Recipe":
        """Read a recipe and find its tokens; arguments as in `mmgen plan`.

        Raises:
            UserError: no such recipe, one that trains no generator, or unknown tokens.
        """
        path = find_recipe(name)
        config = _resolved(path, changes)
        data = (config.get("data") or {}).get("init_args") or {}
        require(not members_of(config), f"{path} trains several modalities: plan the recipe of one of them")
        if "paradigm" not in (config.get("model") or {}).get("init_args", {}):
            raise UserError(f"{path} trains no generator (its model has no paradigm): a plan is of a generator")
        notes: list[str] = []
        try:
            source = build_source(config)
        except UserError as error:
            source = None
            notes.append(f"the data was not read, because {error}")
        tokens = _parsed_spec(spec) if spec else _spec(data, source, path)
        facts = Facts() if source is None else source.facts
        if classes is None and source is None:
            notes.append("the data is not here: no classes are assumed; --classes says how many there are")
        if classes is not None:
            others = {name: each for name, each in facts.conditions.items() if name != "class"}
            named: dict[str, Vocabulary] = {"class": Names(tuple(map(str, range(classes))))} if classes else {}
            facts = replace(facts, conditions=named | others)
        return cls(path, config, replace(facts, spec=tokens), notes)

    @property
    def spec(self) -> TokenSpec:
        """The tokens."""
        assert self.facts.spec is not None
        return self.facts.spec

    @property
    def depth(self) -> int:
        """Blocks of the backbone."""
        backbone = self.config["model"]["init_args"]["backbone"].get("init_args") or {}
        return int(backbone.get("depth") or preset(backbone.get("size") or "tiny").depth)

    @property
    def level_depth(self) -> int:
        """Blocks of the stack of levels, of which `shallow` leaves one; 1 without such a stack."""
        paradigm = self.config["model"]["init_args"]["paradigm"]
        return next((int(each["level_depth"]) for each in _sections(paradigm) if "level_depth" in each), 1)

    def of_member(self, mode: str, global_batch_size: int) -> "Recipe":
        """The same recipe with one member of its mixture as its paradigm, and another batch."""
        config = copy.deepcopy(self.config)
        init_args = config["model"]["init_args"]
        paradigms = (init_args["paradigm"].get("init_args") or {}).get("members") or {}
        init_args["paradigm"] = paradigms.get(mode, init_args["paradigm"])
        config.setdefault("data", {}).setdefault("init_args", {})["global_batch_size"] = global_batch_size
        return replace(self, config=config, notes=[])

    def shallow(self) -> tuple[Generator, Paradigm]:
        """The generator with one block in each of its stacks, and its paradigm."""
        init_args = copy.deepcopy(self.config["model"]["init_args"])
        init_args["backbone"].setdefault("init_args", {})["depth"] = 1
        for section in _sections(init_args["paradigm"]):
            if "level_depth" in section:
                section["level_depth"] = 1
        return build_generator(init_args, self.facts, f"{self.path}")

    def whole(self) -> tuple[Generator, Paradigm]:
        """The generator as it will be trained, and its paradigm."""
        return build_generator(self.config["model"]["init_args"], self.facts, f"{self.path}")

    def setting(self, *keys: str, default: Any = None) -> Any:
        """A value of the config, such as `trainer`, `max_steps`; the default where it is not said."""
        here: Any = self.config
        for key in keys:
            here = here.get(key) if isinstance(here, dict) else None
        return default if here is None else here


def _resolved(path: Path, changes: list[str]) -> dict[str, Any]:
    try:
        config = OmegaConf.create(read_yaml(path) or {})
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    assert isinstance(plain, dict)
    for change in changes:
        _set(plain, change)
    return {str(key): value for key, value in plain.items()}


def _set(config: dict[Any, Any], change: str) -> None:
    """`model.backbone.size=xl`, where `init_args` need not be said, as in `mmgen fit`."""
    key, equals, value = change.partition("=")
    *parts, last = [part for part in key.split(".") if part != "init_args"]
    require(bool(equals and parts), f"--set {change!r} must be KEY=VALUE, such as model.backbone.size=xl")
    here = config
    for part in parts:
        here = here.setdefault(part, {})
        require(isinstance(here, dict), f"--set {change!r}: {part} holds no keys in this recipe")
        if "class_path" in here:
            here = here.setdefault("init_args", {})
    here[last] = parse_yaml(value, f"--set {key}")


def _spec(data: dict[str, Any], source: Source | None, path: Path) -> TokenSpec:
    section = data.get("source")
    stored = (section.get("init_args") or {}).get("path") if isinstance(section, dict) else None
    if stored and (Path(stored) / META).is_file():
        return Meta.read(Path(stored)).spec
    named = data.get("tokenizer")
    if named is None:
        raise UserError(f"{path} names no tokenizer: --spec KIND:SIZE:TxHxW says what its tokens are")
    places = [Path(named), recipes_root() / "tokenizers" / Path(named).name]
    file = next((place / "config.yaml" for place in places if (place / "config.yaml").is_file()), None)
    if file is None:
        raise UserError(f"{named}, the tokenizer of {path}, is not here: --spec KIND:SIZE:TxHxW says what it yields")
    import_parts("tokenizers")  # a short class name is found among the classes that were imported
    tokenizer = build_tokenizer(_resolved(file, [])["model"]["init_args"], f"{file}")
    return tokenizer.spec if source is None else encoded_spec(tokenizer, source, f"{file}")


def _parsed_spec(text: str) -> TokenSpec:
    kind, size, grid, levels = (*text.split(":"), "1")[:4] if text.count(":") in (2, 3) else ("", "", "", "")
    axes = grid.split("x")
    if kind not in get_args(Kind) or not size.isdigit() or not levels.isdigit() or not all(map(str.isdigit, axes)):
        raise UserError(f"--spec {text!r} must be KIND:SIZE:TxHxW, such as categorical:16384:1x16x16")
    require(len(axes) == 3, f"--spec {text!r}: the grid {grid} must have three axes, time, height and width")
    return TokenSpec(kind, int(size), (int(axes[0]), int(axes[1]), int(axes[2])), int(levels))  # type: ignore[arg-type]


def _sections(config: Any) -> Iterator[dict[str, Any]]:
    """A section of a config, and those in it."""
    if isinstance(config, dict):
        yield config
        for each in config.values():
            yield from _sections(each)

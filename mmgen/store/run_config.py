"""The config.yaml of a run folder or an export: read, and told apart, without building anything."""

from pathlib import Path
from typing import Any, Literal

from mmgen.core.errors import UserError, require
from mmgen.core.yaml_text import read_yaml
from mmgen.store.members import require_known, require_no_members
from mmgen.store.recipes import recipes_root

Kind = Literal["tokenizer", "generator"]

CONFIG = "config.yaml"


def read_config(path: Path) -> dict[str, Any]:
    """What config.yaml in a folder says. Raises UserError where it is missing, damaged, or no config."""
    if not path.exists():
        require_known(path)
        recipe = recipe_for(path)
        raise UserError(f"{path} does not exist{f'; run mmgen fit --config {recipe}' if recipe else ''}")
    require(path.is_dir(), f"{path} is a file; name the run or export folder that holds {CONFIG}")
    holds = (path / CONFIG).exists()
    require(holds, f"{path} holds no {CONFIG}: it is neither a run folder nor an export")
    config = read_yaml(path / CONFIG)
    require(isinstance(config, dict), f"{path / CONFIG} is not a config of `mmgen fit`")
    return config


def kind_of(config: dict[str, Any], path: Path) -> Kind:
    """What a config trains. Raises UserError where it is neither, or several at once."""
    require_no_members(config, path)
    model = config.get("model")
    init_args = model.get("init_args") if isinstance(model, dict) else None
    if isinstance(init_args, dict):
        if "paradigm" in init_args:
            return "generator"
        if "tokenizer" in init_args:
            return "tokenizer"
    raise UserError(f"{path / CONFIG} names neither a tokenizer nor a generator under model.init_args")


def recipe_for(path: Path) -> Path | None:
    """The recipe that makes the run of this name, as short as can be written from here."""
    root = recipes_root()
    for folder in ("tokenizers", "experiments"):
        config = root / folder / path.name / CONFIG
        if config.is_file():
            return config.relative_to(Path.cwd()) if config.is_relative_to(Path.cwd()) else config
    return None


def first_line(error: Exception) -> str:
    """The first line of an error's text, to stand within a line of ours."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(error).__name__

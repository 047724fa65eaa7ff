"""From a config to its source, without Lightning: for commands that need a run's raw samples but train nothing."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError, nearest
from mmgen.core.modality import import_parts
from mmgen.core.vocabulary import Names
from mmgen.core.yaml_text import read_yaml
from mmgen.data.sources import CachedTokens, Source
from mmgen.store.allowed_imports import allowed_in_models, is_within
from mmgen.store.members import find_member, require_no_members


def source_section(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says under data.source, as a class path with arguments. Raises UserError where that is missing."""
    data = config.get("data")
    arguments = data.get("init_args") if isinstance(data, dict) else None
    section = arguments.get("source") if isinstance(arguments, dict) else None
    if isinstance(section, str):
        section = {"class_path": section}
    if not isinstance(section, dict) or not isinstance(section.get("class_path"), str):
        raise UserError("the config has no data.source with a class_path, so the data of the run is unknown")
    return section


def build_source(config: dict[str, Any]) -> Source:
    """The raw samples that a run with this config was trained on; of cached tokens, the samples these were made of.

    Raises:
        UserError: no source in it, or as `make_source`; or cached tokens that were made of no samples.
    """
    source = make_source(source_section(config))
    if not isinstance(source, CachedTokens):
        return source
    if source.meta.source is None:
        raise UserError(f"the tokens in {source.path} were made of no raw samples")
    return make_source(source.meta.source)


def trained_source(config: dict[str, Any], trained: Mapping[str, Any], run: str) -> Source:
    """The raw samples that a generator was trained on, as `build_source`, if their values still mean the same.

    Args:
        config: of the run.
        trained: the facts of its data, as its checkpoint has them.
        run: its path, for messages.

    Raises:
        UserError: as `build_source`, or as `require_same_values`.
    """
    source = build_source(config)
    require_same_values(source, trained, run, other=False)
    return source


def require_same_values(source: Source, trained: Mapping[str, Any], run: str, other: bool) -> None:
    """Raises UserError where values mean something else in data than in those that a generator was trained on.

    Args:
        source: the data; it may lack a condition.
        trained: the facts of the generator's data, as its checkpoint has them.
        run: its path, for messages.
        other: the data were named, and are not the run's own: texts may be any, as they are read in words, and sounds
            are brought to the run's rate.
    """
    facts, conditions = source.facts, trained["conditions"]
    comparable = {name: each for name, each in facts.conditions.items() if isinstance(each, Names) or not other}
    shared = [name for name in comparable if name in conditions]
    own = replace(facts, conditions={name: comparable[name] for name in shared})
    then = {**trained, "conditions": {name: conditions[name] for name in shared}}
    rates = () if not other else ("sample_rate", "more") if source.fps else ("sample_rate", "more", "fps")
    own.require_same(then, run, ("spec", "tokenizer_hash", *rates))


def make_source(section: dict[str, Any]) -> Source:
    """The source of a section: `class_path`, perhaps without its packages, and `init_args` (`Source.describe`). Only
    classes of mmgen, of registered modalities and of packages that the environment allows are built, so that a config
    from elsewhere cannot run code.

    Raises:
        UserError: an unknown class, or arguments that it does not take.
    """
    package, _, name = str(section["class_path"]).rpartition(".")
    known = source_kinds()
    if name not in known or (package and not is_within(package, allowed_in_models())):
        raise UserError(f"there is no source {section['class_path']}{nearest(name, known)}")
    try:
        return known[name](**section.get("init_args") or {})
    except TypeError as error:
        raise UserError(f"source {section['class_path']}: {error}") from None


def changed(source: Source, **arguments: Any) -> Source:
    """The same data with other arguments, as far as its source takes them; itself where it has these already."""
    changes = {name: value for name, value in arguments.items() if source.arguments.get(name, value) != value}
    return make_source(source.describe() | {"init_args": source.arguments | changes}) if changes else source


def open_source(text: str) -> Source:
    """The raw samples that a command line names.

    Args:
        text: a source that needs no argument, by name: `digits`, `emoji`, `moving_digits` and the like; or a YAML file
            with a `data` section; or a run folder, for the data it was trained on, or RUN/MEMBER of a run of several.

    Raises:
        UserError: none of these.
    """
    path = Path(text)
    if (member := find_member(path)) is not None:
        return build_source(member.config)
    file = path / "config.yaml" if path.is_dir() else path
    if file.is_file():
        config = read_yaml(file)
        require_no_members(config, file.parent)
        return build_source(config if isinstance(config, dict) else {})
    names = {source_word(name): kind for name, kind in sorted(source_kinds().items()) if not _needed(kind)}
    if text not in names:
        known = f"{', '.join(names)}, a YAML file with a data section, or a run"
        raise UserError(f"there is no data {text!r}: name {known}{nearest(text, names)}")
    return names[text]()


def source_kinds() -> dict[str, type[Source]]:
    """Name of a class -> the class, of every source of the modalities, and of packages that the environment allows."""
    import_parts("sources")
    kinds, rest, packages = {}, Source.__subclasses__(), allowed_in_models()
    while rest:
        kind = rest.pop()
        rest += kind.__subclasses__()
        if not inspect.isabstract(kind) and is_within(kind.__module__, packages):
            kinds[kind.__name__] = kind
    return kinds


def source_word(name: str) -> str:
    """What a source is called on the command line: `MovingDigits` is `moving_digits`."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()


def _needed(kind: type[Source]) -> list[str]:
    """The arguments without which a source cannot be made."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.name != "self"]

"""From names to sources, without Lightning: for commands that need a run's raw samples but train nothing."""

import inspect
import re
from pathlib import Path
from typing import Any

import yaml

from mmgen.core.errors import UserError, nearest
from mmgen.core.modality import import_parts
from mmgen.data.sources import CachedTokensSource, Source
from mmgen.store.members import find_member, require_no_members


def _kinds() -> dict[str, type[Source]]:
    """Name of a data class -> its source, of every modality."""
    import_parts("sources")
    found, rest = {}, [Source]
    while rest:
        kind = rest.pop()
        rest += kind.__subclasses__()
        if kind.__name__.endswith("Source") and kind is not Source and not inspect.isabstract(kind):
            found[kind.__name__.removesuffix("Source")] = kind
    return found


def build_source(config: dict[str, Any]) -> Source:
    """The raw samples that a run was trained on; for one trained on cached tokens, the samples these were made of.

    Only classes of mmgen are built: a config from elsewhere cannot run code.

    Args:
        config: the content of the run's config.yaml.

    Raises:
        UserError: no `data` section, an unknown data class, or cached tokens that are missing or made of no samples.
    """
    data = config.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("class_path"), str):
        raise UserError("the config has no data.class_path, so the data of the run is unknown")
    package, _, name = data["class_path"].rpartition(".")
    kinds = _kinds()
    if name not in kinds or not f"{package}.".startswith(("mmgen.", ".")):
        raise UserError(f"data class {data['class_path']} has no source{nearest(name, kinds)}")
    kind = kinds[name]
    accepted = inspect.signature(kind).parameters
    try:
        source = kind(**{key: value for key, value in (data.get("init_args") or {}).items() if key in accepted})
    except TypeError as error:
        raise UserError(f"data class {data['class_path']}: {error}") from None
    if isinstance(source, CachedTokensSource):
        if source.meta.data is None:
            raise UserError(f"the tokens in {source.path} were made of no raw samples")
        return build_source({"data": source.meta.data})
    return source


def open_source(text: str) -> Source:
    """The raw samples that a command line names.

    Args:
        text: data that needs no argument, by name: `digits`, `emoji`, `photos`, `moving_digits`, `atari`,
            `espeak_speech`, `asterisk_prompts` or `mocap`; or a YAML file with a `data` section; or a run folder, for
            the data it was trained on, or RUN/MEMBER of a run of several.

    Raises:
        UserError: none of these.
    """
    path = Path(text)
    if (member := find_member(path)) is not None:
        return build_source(member.config)
    file = path / "config.yaml" if path.is_dir() else path
    if file.is_file():
        try:
            config = yaml.safe_load(file.read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
        require_no_members(config, file.parent)
        return build_source(config if isinstance(config, dict) else {})
    names = {data_word(name): name for name, kind in _kinds().items() if not _needed(kind)}
    if text not in names:
        known = f"{', '.join(names)}, a YAML file with a data section, or a run"
        raise UserError(f"there is no data {text!r}: name {known}{nearest(text, names)}")
    return build_source({"data": {"class_path": names[text]}})


def data_word(name: str) -> str:
    """What a data class is called on the command line: `MovingDigits` is `moving_digits`."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()


def _needed(kind: type[Source]) -> list[str]:
    """The arguments without which a source cannot be made."""
    parameters = inspect.signature(kind).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty]

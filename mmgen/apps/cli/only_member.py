"""`mmgen fit --only MEMBER`: one member of a joint recipe trained by itself, with everything else of the recipe equal.

The recipe is changed before the parser sees it. Its files become the text of what a run of this member would say
(`mmgen.store.members.alone`), in which references follow the values that moved.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mmgen.apps.cli.recipe_options import split_files
from mmgen.apps.cli.run_folder import RunFolder
from mmgen.core.errors import UserError, nearest
from mmgen.core.yaml_text import read_yaml
from mmgen.store.members import member_config, members_of
from mmgen.store.recipe_merge import merge_recipes

HELP = "member of a recipe of several modalities to be trained by itself, all else equal"

_OPTION = "--only"
_REFERENCE = re.compile(r"\$\{([^${}:]+)\}")  # of a value, not to what ${oc.env:NAME} computes
_NOTHING = object()
_PLACES = {"model": ("init_args",), "data": ()}
"""Section -> where in it the arguments of its members go from `init_args.members.NAME`."""


def only(command: str, args: list[str], recipes: list[Path]) -> list[str]:
    """The command line of a run of one member, where it asks for that; else as it is. `recipes` are the files that it
    names. Raises UserError for another command than fit, no recipe of several modalities, or no such member.
    """
    name, rest = _split_member(args)
    if name is None:
        return args
    if command != "fit":
        raise UserError(f"{_OPTION} is for mmgen fit; then mmgen {command} --config RUN/config.yaml measures the run")
    whole = merge_recipes(read_yaml(path) for path in recipes)
    names, where = members_of(whole), ", ".join(map(str, recipes)) or "the command line"
    if not names:
        raise UserError(f"{_OPTION} is for recipes of several modalities, and {where} has no model.members")
    if name not in names:
        raise UserError(f"{where} has no member {name!r}: name one of {', '.join(names)}{nearest(name, names)}")
    folder = RunFolder.of(None, recipes).path
    single = member_config(_Moved(name, OmegaConf.create(whole)).within(whole), name)
    text, (_, options) = yaml.safe_dump(single, sort_keys=False), split_files(rest)
    return [f"--run={folder.with_name(f'{folder.name}-{name}')}", f"--config={text}", *options]


def require_on_command_line(config: Any) -> None:
    """Raises UserError for a parsed recipe that says it: then it is too late to change the recipe."""
    if config.get("only") is not None:
        raise UserError(f"{_OPTION} {config.only} is said on the command line, not in a recipe")


class _Moved:
    """Where references lead when a member's values have moved.

    Args:
        name: of the member.
        whole: the recipe before, all files together.
    """

    def __init__(self, name: str, whole: Any) -> None:
        self.name, self.whole = name, whole

    def within(self, value: Any, place: tuple[str, ...] = ()) -> Any:
        """A part of the recipe, and where it stood, with its references changed."""
        if isinstance(value, dict):
            return {key: self.within(item, (*place, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [self.within(item, (*place, str(number))) for number, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        if (whole := _REFERENCE.fullmatch(value)) is not None:
            return self._followed(whole[1], place)
        return _REFERENCE.sub(lambda each: str(self._followed(each[1], place)), value)

    def _followed(self, reference: str, place: tuple[str, ...]) -> Any:
        """The reference to the same value in its new place; the value itself where that belongs to another member."""
        path = reference.lstrip(".")
        up = len(reference) - len(path)
        key = (*(place[: len(place) - up] if up else ()), *path.replace("[", ".").replace("]", "").split("."))
        section, *inner = key
        if section not in _PLACES or inner[:2] != ["init_args", "members"] or len(inner) < 3:
            return f"${{{'.'.join(key)}}}"
        if inner[2] == self.name:
            return f"${{{'.'.join((section, *_PLACES[section], *inner[3:]))}}}"
        try:
            value = OmegaConf.select(self.whole, ".".join(key), default=_NOTHING)
        except OmegaConfBaseException as error:
            raise UserError(f"{'.'.join(place)}: {str(error).splitlines()[0]}") from None
        if value is _NOTHING:
            raise UserError(f"{'.'.join(place)} refers to {'.'.join(key)}, which the recipe does not have")
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _split_member(args: list[str]) -> tuple[str | None, list[str]]:
    """The member that a command line names, and the other arguments."""
    name, rest, left = None, [], iter(args)
    for arg in left:
        option, equals, value = arg.partition("=")
        if option != _OPTION:
            rest.append(arg)
            continue
        name = value if equals else next(left, "")
        if not name or name.startswith("-"):
            raise UserError(f"{_OPTION} needs the name of a member: {_OPTION} speech")
    return name, rest

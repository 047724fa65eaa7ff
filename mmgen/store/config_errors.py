"""Errors of the argument parser in one line: the place in the config, the mistake, the nearest right name."""

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jsonargparse import ArgumentParser

from mmgen.core.errors import nearest
from mmgen.store.allowed_imports import VARIABLE, allowed_in_recipes, is_within


@dataclass(frozen=True)
class Spot:
    """Where a mistake is: its dotted path in the config (empty at the top), the import path of the class whose argument
    it is, if any, and the parser of the whole command.
    """

    key: str
    inside: str | None
    parser: ArgumentParser

    @property
    def at(self) -> str:
        """The place, as it is put behind the mistake."""
        return f" (at {self.key})" if self.key else ""


def explain(message: str, parser: ArgumentParser) -> str:
    """One line for an error of `parser`, whose text nests a level for every key and class down to the mistake."""
    for pattern, describe in _RULES.items():
        if match := re.search(pattern, message, re.DOTALL):
            before = message[: match.start(1)]
            keys, classes = re.findall(r'Parser key "([^"]+)"', before), re.findall(r"class_path '([^']+)'", before)
            return describe(Spot(".".join(keys), classes[-1] if classes else None, parser), *match.groups())
    return message


def _unknown_class(spot: Spot, name: str) -> str:
    known = _classes()
    if name in known:
        return f"class {name!r} does not fit{spot.at}: it is of another kind"
    return f"there is no class {name!r}{spot.at}{nearest(name.rsplit('.', 1)[-1], known)}"


def _refused_class(spot: Spot, name: str) -> str:
    packages = f"{', '.join(allowed_in_recipes())} ({VARIABLE} adds some)"
    return f"class {name!r} is not allowed{spot.at}: a recipe may only name classes of {packages}"


def _unknown_key(spot: Spot, key: str) -> str:
    if spot.inside is not None:
        return f"{_name(spot.inside)} has no option {key!r}{spot.at}{nearest(key, _parameters(spot.inside))}"
    return f"there is no option {key!r}{nearest(key, {action.dest.split('.')[0] for action in spot.parser._actions})}"


def _unknown_key_of_group(spot: Spot, group: str, key: str) -> str:
    options = {action.dest.removeprefix(f"{group}.") for action in spot.parser._actions}
    return f"there is no option '{group}.{key}'{nearest(key, options)}"


def _unrecognized(spot: Spot, word: str) -> str:
    option = word.split("=")[0]
    if spot.inside is not None:  # one of a part: the parser of its class knows nothing of the command
        return _unknown_key(spot, option.removeprefix("--").split(".")[0])
    if not option.startswith("-"):
        return f"did not expect {option!r}"
    return f"there is no option {option!r}{nearest(option, spot.parser._option_string_actions)}"


def _wrong_type(spot: Spot, wanted: str, value: str) -> str:
    wanted = re.sub(r"typing\.Literal\[(.*?)\]", r"\1", re.sub(r"<class '([^']+)'>", r"\1", wanted))
    wanted = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", wanted).replace(", ", " or ").replace("NoneType", "null")
    return f"expected {wanted}, got {value!r}{spot.at}"


# The first that matches counts. A union of types fails for each of them, so the specific reasons come first.
_RULES: dict[str, Callable[..., str]] = {
    r"Importing '([^']+)' is not allowed": _refused_class,
    r"Expected a dot import path string: (\S+)": _unknown_class,
    r"(No module named|module) '[^']+'": lambda spot, _: _unknown_class(spot, spot.inside or ""),
    r"Import path (\S+) does not correspond to a subclass of (\w+)": lambda spot, name, base: (
        f"class {name!r} does not fit{spot.at}: it is no {base}"
    ),
    r"Expected an instantiatable class, but (\S+) is abstract": lambda spot, name: (
        f"class {name!r} is abstract{spot.at}: name one that derives from it"
    ),
    r"Group '([^']+)' does not accept option '([^']+)'": _unknown_key_of_group,
    r"Option '([^']+)' is not accepted": _unknown_key,
    r"unrecognized arguments: (\S+)": _unrecognized,
    r"the following arguments are required: ([^\n]+)": lambda spot, names: (
        f"{f'{_name(spot.inside)} needs' if spot.inside else 'missing:'} {names}{spot.at}"
    ),
    r"(File does not exist|Path is not a file): '([^']+)'": lambda spot, what, path: (
        f"{path} {'does not exist' if what == 'File does not exist' else 'is not a file'}{spot.at}"
    ),
    r"Expected an? ([^\n]+)\. Got value: ([^\n]+)": _wrong_type,
    r"compute_fn of link [^\n]* failed: ([^\n]+)": lambda _, text: text,
    r".*Subtypes: \[([^\n]+)\]\n.*Given value: ([^\n]+)": _wrong_type,
}


def _name(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1]


def _parameters(class_path: str) -> Iterable[str]:
    module, _, name = class_path.rpartition(".")
    owner = getattr(sys.modules.get(module), name, None)
    return inspect.signature(owner).parameters if inspect.isclass(owner) else ()


def _classes() -> set[str]:
    """Names of the classes that were imported so far and that a recipe may name."""
    packages = allowed_in_recipes()
    modules = [each for name, each in list(sys.modules.items()) if is_within(name, packages) and each is not None]
    members = [member for module in modules for member in vars(module).items()]
    return {name for name, value in members if inspect.isclass(value) and not name.startswith("_")}

"""What the argument parser found wrong, said in one line: the place in the config, the mistake, and the nearest right name."""

import inspect
import re
import sys
from collections.abc import Iterable

from jsonargparse import ArgumentParser

from mmgen.errors import nearest

ALLOWED = ("mmgen", "lightning.pytorch", "torch.optim")  # where the classes that a recipe names may come from

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")


def explain(message: str, parser: ArgumentParser) -> str:
    """One line for an error of `parser`.

    Args:
        message: the error's text, which nests a level for every key and class on the way to the mistake.
        parser: whose options are suggested where none of a class are meant.
    """
    for pattern, tell in _RULES:
        if found := re.search(pattern, message):
            head = message[: found.start(1)]
            keys, classes = _KEY.findall(head), _CLASS.findall(head)
            place = f" (at {'.'.join(keys)})" if keys else ""
            return tell(found.groups(), place, classes[-1] if classes else None, parser)
    return message


def _unknown_class(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    known = _classes()
    if groups[0] in known:
        return f"class {groups[0]!r} does not fit{place}: it is of another kind"
    return f"there is no class {groups[0]!r}{place}{nearest(groups[0], known)}"


def _refused_class(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return f"class {groups[0]!r} is not allowed{place}: a recipe may only name classes of {', '.join(ALLOWED)}"


def _unfit_class(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return f"class {groups[0]!r} is no {groups[1]}{place}"


def _no_module(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return f"there is no class {inside!r}{place}{nearest((inside or '').rsplit('.', 1)[-1], _classes())}"


def _abstract_class(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return f"class {groups[0]!r} is abstract{place}: name one that derives from it"


def _unknown_key(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    key = groups[-1]
    if inside is not None:
        return f"{inside.rsplit('.', 1)[-1]} has no option {key!r}{place}{nearest(key, _parameters(inside))}"
    group = f"{groups[0]}." if len(groups) > 1 else ""
    options = {_option(action.dest.removeprefix(group)) for action in parser._actions if action.dest.startswith(group)}
    return f"there is no option {group + key!r}{nearest(key, options)}"


def _unrecognized(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    first = groups[0].split("=")[0]
    if not first.startswith("-"):
        return f"did not expect {first!r}"
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    return f"there is no option {first!r}{nearest(first, options)}"


def _missing(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    needs = f"{inside.rsplit('.', 1)[-1]} needs" if inside else "missing:"
    return f"{needs} {groups[0]}{place}"


def _no_path(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return f"{groups[1]} {'does not exist' if groups[0] == 'File does not exist' else 'is not a file'}"


def _as_it_says(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    return groups[0]


def _wrong_type(groups: tuple[str, ...], place: str, inside: str | None, parser: ArgumentParser) -> str:
    wanted = re.sub(r"typing\.Literal\[(.*?)\]", r"\1", re.sub(r"<class '([^']+)'>", r"\1", groups[0]))
    wanted = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", wanted).replace(", ", " or ").replace("NoneType", "null")
    return f"expected {wanted}, got {groups[1]!r}{place}"


_RULES = [
    (r"Importing '([^']+)' is not allowed", _refused_class),
    (r"Expected a dot import path string: (\S+)", _unknown_class),
    (r"(No module named|module) '[^']+'", _no_module),
    (r"Import path (\S+) does not correspond to a subclass of (\w+)", _unfit_class),
    (r"Expected an instantiatable class, but (\S+) is abstract", _abstract_class),
    (r"Group '([^']+)' does not accept option '([^']+)'", _unknown_key),
    (r"Option '([^']+)' is not accepted", _unknown_key),
    (r"unrecognized arguments: (\S+)", _unrecognized),
    (r"the following arguments are required: ([^\n]+)", _missing),
    (r"(File does not exist|Path is not a file): '([^']+)'", _no_path),
    (r"Expected a (.+?)\. Got value: ([^\n]+)", _wrong_type),
    (r"Call to compute_fn of link .* failed: ([^\n]+)", _as_it_says),
    (r"(?s).*Subtypes: \[(.+?)\]\n.*Given value: ([^\n]+)", _wrong_type),
]


def _option(dest: str) -> str:
    return dest.split(".")[0]


def _parameters(class_path: str) -> Iterable[str]:
    module, _, name = class_path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return inspect.signature(found).parameters if inspect.isclass(found) else ()


def _classes() -> set[str]:
    """Names of the classes that were imported so far and that a recipe may name."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(ALLOWED) and module is not None]
    return {name for module in modules for name, value in vars(module).items() if inspect.isclass(value) and not name.startswith("_")}

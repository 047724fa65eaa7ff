"""Several files of a recipe as one: a later file adds to the earlier ones, and wins where both say something."""

from collections.abc import Iterable
from functools import reduce
from typing import Any

_CLASS, _OPTIONS = "class_path", "init_args"


def merge_recipes(files: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One recipe of the contents of files, in their order.

    Keys are merged at every depth, so that a file which names one member, condition or option leaves the others as they
    are. A value, a list, null and {} replace what was there. A section of another class replaces the whole section:
    options of one class mean nothing to another, even where they have the same name.
    """
    return dict(reduce(_merge, files, {}))


def _merge(old: Any, new: Any) -> Any:
    if isinstance(new, str) and isinstance(old, dict) and _CLASS in old:  # a class by its name alone
        return old if _same_class(old[_CLASS], new) else new
    if not isinstance(new, dict) or not new:
        return new
    if isinstance(old, str):
        old = {_CLASS: old}
    if not isinstance(old, dict):
        return new
    if _CLASS in new and not (_CLASS in old and _same_class(old[_CLASS], new[_CLASS])) and set(old) != {_OPTIONS}:
        return new
    if _CLASS in old and not new.keys() & {_CLASS, _OPTIONS}:  # options may be written without init_args
        new = {_OPTIONS: new}
    if _OPTIONS in new and not old.keys() & {_CLASS, _OPTIONS}:
        old = {_OPTIONS: old}
    replaced = {f"{key}+" for key in new}  # a whole list, after what was to be added to one
    remaining = {key: value for key, value in old.items() if key not in replaced}
    return remaining | {key: _combine(key, old.get(key), value) for key, value in new.items()}


def _combine(key: str, old: Any, new: Any) -> Any:
    if not key.endswith("+") or old is None:
        return _merge(old, new)
    return [*(old if isinstance(old, list) else [old]), *(new if isinstance(new, list) else [new])]


def _same_class(old: Any, new: Any) -> bool:
    """Whether two paths name one class, which may be written without its package."""
    return str(old).rpartition(".")[2] == str(new).rpartition(".")[2]

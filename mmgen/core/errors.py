"""The one error a user's mistake may raise, and the hint that goes with it."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from mmgen.core.terminal import printable


class UserError(Exception):
    """A mistake of the user, in one line: what is wrong, where, and how to mend it. The CLI prints it and exits 2."""

    def __str__(self) -> str:
        return printable(super().__str__())


def nearest(name: str, options: Iterable[str]) -> str:
    """The tail of an error message: `; did you mean 'x'?` for the closest option, or an empty string."""
    folded = {option.lower(): option for option in options}
    close = get_close_matches(str(name).lower(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def require(fine: bool, message: str) -> None:
    """Raise UserError with this message unless an option is fine."""
    if not fine:
        raise UserError(message)


def require_one_of(option: str, value: str, values: Iterable[str]) -> None:
    """Raise UserError, with the nearest of the values, where an option has none of them."""
    known = list(values)
    require(value in known, f"{option} {value!r} is not one of {', '.join(known)}{nearest(value, known)}")


def import_optional(module: str, need: str, package: str, extra: str) -> Any:
    """A module of a package that mmgen installs as an extra. Raises UserError where it is missing; `need` says for what
    it is needed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UserError(f"{need} the package {package}: pip install 'mmgen[{extra}]'") from None

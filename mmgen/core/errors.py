"""The one error a user's mistake may raise, and the hint that goes with it."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user, told in one line: what is wrong, where, and how to mend it. The CLI prints it and exits
    2.
    """


def nearest(name: str, options: Iterable[str]) -> str:
    """The tail of an error message: `; did you mean 'x'?` for the closest option, or an empty string."""
    folded = {option.lower(): option for option in options}
    close = get_close_matches(str(name).lower(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""

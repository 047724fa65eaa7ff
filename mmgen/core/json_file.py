"""JSON of others. This is the one place that reads it: a mistake in it is one line, and it takes little memory."""

import json
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.text_file import read_text

LARGEST = 2**24
"""Characters of the longest text: lists in it take twenty times as much memory."""


def read_json(path: str | Path, what: str = "") -> Any:
    """The content of a file; `what` stands before its name in errors. Raises UserError where it cannot be read, or is
    no JSON, or too large.
    """
    text = read_text(path, what)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UserError(f"{what}{path} is damaged or no JSON ({error})") from None


def parse_json(text: str) -> Any:
    """What a text says. Raises ValueError, in one line, where it is no JSON, too large, nested too deep, or says
    something twice.
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has {len(text):,} characters, more than {LARGEST:,}")
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(error.msg + f", line {error.lineno}" * (error.lineno > 1)) from None
    except _Twice:
        raise
    except ValueError:  # Python's own message advises to lift its limit
        raise ValueError("it has a number of thousands of digits") from None


class _Twice(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python would take the last of several values."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _Twice(f"the key {key!r:.60} is there twice")
        content[key] = value
    return content

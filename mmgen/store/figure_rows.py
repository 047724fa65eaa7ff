"""Rows of results.json, which others may have written, as cards and pages need them: each field of its type."""

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[\w.@+-]+")
_TEXTS = ("command", "data", "commit", "machine", "date")
_OPTIONAL_TEXTS = ("mode", "extractor", "budget", "settings", "checkpoint", "better")
_WHOLE = ("samples", "seed", "steps", "training_seed")
_DIRECTIONS = (None, "higher", "lower", "neither")

# Of a protocol, what cards and pages calculate with.
_NUMBERS = ("standard_error", "first_frame", "window", "trained_frames", "extractor_accuracy", "context")
_LARGEST = 1e15
_UNKNOWN = ("standard_error", "trained_frames", "extractor_accuracy")  # these may be null
_LISTS = ("per_frame", "per_window", "per_window_real")
_REFERENCE = ("frames", "fps", "seconds", "sample_rate", "count")


def require_row(row: Any) -> None:
    """Raises ValueError, with the field, for a row whose fields are not of their types; missing ones are not missed."""
    _require(isinstance(row, dict), "a row", "an object", row)
    for name in ("value", "seconds"):
        _require(name not in row or _is_number(row[name]), name, "a number", row.get(name))
    for name in _WHOLE:
        value = row.get(name)
        fine = name not in row if value is None and name == "samples" else value is None
        fine = fine or (_is_number(value) and isinstance(value, int))
        _require(fine, name, "a whole number", value)
    for name in ("metric", *_TEXTS):
        _require(isinstance(row.get(name, ""), str), name, "a text", row.get(name))
    for name in _OPTIONAL_TEXTS:
        _require(isinstance(row.get(name), str | None), name, "a text", row.get(name))
    if "metric" in row:
        _require(_NAME.fullmatch(row["metric"]) is not None, "metric", "a name", row["metric"])
    _require(row.get("better") in _DIRECTIONS, "better", "higher, lower or neither", row.get("better"))
    _require(isinstance(row.get("protocol"), dict | None), "protocol", "an object", row.get("protocol"))
    _require_protocol(row.get("protocol") or {})


def _require_protocol(protocol: Mapping[str, Any]) -> None:
    for name in (name for name in _NUMBERS if name in protocol):
        value = protocol[name]
        _require(_is_number(value) or (value is None and name in _UNKNOWN), f"protocol {name}", "a number", value)
    for name in _LISTS:
        values = protocol.get(name, [0])
        fine = isinstance(values, list) and len(values) > 0 and all(map(_is_number, values))
        _require(fine, f"protocol {name}", "a list of numbers", values)
    if any(name in protocol for name in _LISTS[1:]):
        fine = "window" in protocol and "per_window" in protocol
        fine = fine and len(protocol.get("per_window_real", protocol["per_window"])) == len(protocol["per_window"])
        _require(fine, "protocol", "with window, and per_window of each", protocol)
    reference = protocol.get("reference")
    if isinstance(reference, dict):
        fine = all(isinstance(reference.get(name), str) for name in ("data", "sha256"))
        fine &= all(_is_number(reference.get(name, 0)) for name in _REFERENCE) and "count" in reference
        fine &= "sample_rate" not in reference or "seconds" in reference
        fine &= "fps" not in reference or "frames" in reference
        _require(fine, "protocol reference", "data, count, sha256 and what they are of", reference)


def _is_number(value: Any) -> bool:
    """Finite, and of a size with which can be calculated."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(float(value)) < _LARGEST
    except OverflowError:  # an integer of hundreds of digits
        return False


def _require(fine: bool, name: str, wanted: str, value: Any) -> None:
    if not fine:
        raise ValueError(f"{name} must be {wanted}, got {str(value)[:40]!r}")

"""What hypothesis changes in whole files and configs, and how often: few examples with `make test`, always the same,
and MMGEN_FUZZ times as many, new ones each time, with `make soak`.
"""

import copy
import os
import random
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("MMGEN_FUZZ", "1"))
EXTREMES = (b"\0", b"\xff", b"\x80", b"\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80")


def fuzz(quick: int) -> Callable[..., Any]:
    """The settings of a test that takes so many examples with `make test`."""
    return settings(
        max_examples=quick * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # what fails is told as it is: shrinking it would take minutes
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def mutated(whole: bytes, head: int = 200) -> st.SearchStrategy[bytes]:
    """A file with some mistakes, most of them in its first `head` bytes, where it says what follows."""
    place = st.one_of(st.integers(0, min(head, len(whole) - 1)), st.integers(0, len(whole) - 1))
    edit = st.tuples(st.sampled_from(["flip", "set", "cut", "drop", "insert", "repeat"]), place, st.integers(0, 255))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: _edited(whole, edits))


def _edited(whole: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    data = whole
    for how, at, number in edits:
        before, here, after = data[:at], data[at : at + 1], data[at + 1 :]
        extreme, some = EXTREMES[number % len(EXTREMES)], random.Random(number).randbytes(1 + number % 9)
        data = {
            "flip": before + bytes(each ^ (1 << number % 8) for each in here) + after,
            "set": before + extreme + data[at + len(extreme) :],
            "cut": before,
            "drop": before + after[number:],
            "insert": before + some + here + after,
            "repeat": before + before[-number:] + here + after,
        }[how]
    return data


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.sampled_from([0.5, -1.5, 1e30, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "null", "a.b", "os.system", "${data}", "${nothing}", "7", "é\n", "last", "mmgen.Mine"]),
    st.just([]), st.just({}), st.just([1, 2]), st.just({"class_path": "Masked"}), st.just({"init_args": {"size": 3}}),
)  # fmt: skip
"""What a config may say in place of what is right: small, so that no example asks for a huge model."""


def mutated_tree(tree: Any) -> st.SearchStrategy[Any]:
    """A config with some entries replaced, removed, renamed or added."""
    count = len(list(_places(tree)))
    edit = st.tuples(st.sampled_from(["replace", "replace", "remove", "rename", "add"]), st.integers(0, count), PLAIN)
    return st.lists(edit, min_size=1, max_size=3).map(lambda edits: _replanted(tree, edits))


def _places(tree: Any) -> Any:
    """Every (mapping or list, key) in a tree."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _replanted(tree: Any, edits: list[tuple[str, int, Any]]) -> Any:
    tree = copy.deepcopy(tree)
    for how, number, value in edits:
        places = list(_places(tree))
        if not places:
            break
        (parent, key), value = places[number % len(places)], copy.deepcopy(value)
        if how == "replace":
            parent[key] = value
        elif how == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            parent[f"{key}s" if how == "rename" else "more"] = parent.pop(key) if how == "rename" else value
    return tree


def refused(read: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether it is refused with one of these errors, in a line; any other error comes out of here."""
    try:
        read()
    except errors as error:
        if "\n" in str(error).strip():
            raise ValueError("it is refused in more than a line") from error
        return True
    return False

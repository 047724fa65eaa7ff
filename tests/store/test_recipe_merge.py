"""Several files of a recipe: what a later file does not name stays, unless it was an option of another class."""

from typing import Any

import pytest

from mmgen.store.recipe_merge import merge_recipes

LARGE = {"class_path": "Transformer", "init_args": {"size": "large", "rope": [0, 1, 1]}}
CASES: dict[str, tuple[Any, Any, Any]] = {
    "an option": ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
    "an option of the same class": (
        LARGE,
        {"class_path": "mmgen.model.Transformer", "init_args": {"size": "tiny"}},
        {"class_path": "mmgen.model.Transformer", "init_args": {"size": "tiny", "rope": [0, 1, 1]}},
    ),
    "another class": (LARGE, {"class_path": "Mamba", "init_args": {"size": "tiny"}}, None),
    "another class by name": (LARGE, "Mamba", None),
    "the same class by name": (LARGE, "Transformer", LARGE),
    "another class after options of the default": ({"lr": 1.0}, {"class_path": "Muon"}, None),
    "a class after the options of any": (
        {"init_args": {"depth": 2}},
        LARGE,
        {"class_path": "Transformer", "init_args": {"depth": 2, "size": "large", "rope": [0, 1, 1]}},
    ),
    "options after a name": (
        "Masked",
        {"init_args": {"steps": 3}},
        {"class_path": "Masked", "init_args": {"steps": 3}},
    ),
    "options without init_args": (
        {"class_path": "Muon", "init_args": {"lr": 1.0, "decay": 0.1}},
        {"lr": 2.0},
        {"class_path": "Muon", "init_args": {"lr": 2.0, "decay": 0.1}},
    ),
    "options with init_args after some without": (
        {"lr": 1.0, "decay": 0.1},
        {"init_args": {"lr": 2.0}},
        {"init_args": {"lr": 2.0, "decay": 0.1}},
    ),
    "one member of several": ({"members": {"ar": LARGE, "mask": LARGE}}, {"members": {"ar": {"class_path": "X"}}},
                              {"members": {"ar": {"class_path": "X"}, "mask": LARGE}}),
    "no members": ({"members": {"ar": LARGE}}, {"members": {}}, None),
    "null": ({"members": {"ar": LARGE}}, {"members": None}, None),
    "a list": ({"betas": [1, 2]}, {"betas": [3]}, None),
    "more of a list": ({"callbacks": ["A"], "callbacks+": ["B"]}, {"callbacks+": "C"},
                       {"callbacks": ["A"], "callbacks+": ["B", "C"]}),
    "a list after more of it": ({"callbacks": ["A"], "callbacks+": ["B"]}, {"callbacks": ["C"]}, None),
    "a section after a value": ({"logger": False}, {"logger": {"class_path": "CSVLogger"}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "both"), CASES.values(), ids=CASES.keys())
def test_a_later_file(old: Any, new: Any, both: Any) -> None:
    """`both` None: the new replaces the old."""
    before = repr(old), repr(new)
    assert merge_recipes([{"part": old}, {"part": new}]) == {"part": new if both is None else both}
    assert (repr(old), repr(new)) == before

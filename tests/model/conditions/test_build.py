"""From a recipe's conditions and the data's to modules; what cannot be is refused in one line."""

from functools import partial

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import FreeText, Names
from mmgen.model.conditions import Actions, Characters, ClassLabel, build_conditions, unread
from mmgen.paradigms import Autoregressive, Guidance, Masked, Request
from tests.model.conditions.worlds import SPEC, VOCABULARIES, generator


def test_by_default_everything_that_the_data_brings_is_read() -> None:
    brought = {**VOCABULARIES, "caption": FreeText()}
    made = build_conditions(None, brought, SPEC, 8)
    assert {name: type(each).__name__ for name, each in made.items()} == {
        "class": "ClassLabel",
        "actions": "Actions",
        "text": "Characters",
        "speaker": "Speaker",
    }
    assert unread(made, brought) == ["caption"]
    assert build_conditions({}, brought, SPEC, 8) == {}


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"clas": ClassLabel}, r"model.conditions.clas has no data: it brings class.*did you mean 'class'"),
        ({"text": ClassLabel}, "model.conditions.text: ClassLabel reads Names, and the data brings Text"),
        ({"class": Characters}, "Characters reads Text, and the data brings Names"),
        ({"actions": ClassLabel}, "the data brings FrameNames"),
        ({"class": partial(ClassLabel, enters=())}, "enters by prefix or modulation, got nothing"),
        ({"class": partial(ClassLabel, dropout=1.5)}, "shares from 0 to 1"),
        ({"text": partial(Characters, reading="aloud")}, "a text is read as prefix, frames, both, not 'aloud'"),
    ],
)
def test_what_cannot_be_is_refused(chosen, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        build_conditions(chosen, VOCABULARIES, SPEC, 8)


def test_a_way_in_that_the_backbone_has_not_is_refused() -> None:
    chosen = {"class": partial(ClassLabel, enters=("modulation",))}
    with pytest.raises(UserError, match="enters by modulation alone, and the backbone has none"):
        generator(chosen, modulation="none")


def test_a_start_token_stands_where_one_is_needed_and_no_condition_does() -> None:
    modulated = {"class": partial(ClassLabel, enters=("modulation",))}
    for chosen, paradigm, length in (
        ({}, Autoregressive(), 1),
        ({}, Masked(), 0),
        (modulated, Autoregressive(), 1),
        (modulated, Masked(), 0),
        ({"class": ClassLabel}, Autoregressive(), 1),
        ({"text": Characters}, Autoregressive(), 5),
    ):
        assert generator(chosen, paradigm).prefix_length == length


@pytest.mark.parametrize(
    ("conditions", "guidance", "reason"),
    [
        ({"text": ["a"]}, Guidance(), "trained without text: it takes class, actions"),
        ({"class": torch.tensor([3])}, Guidance(), "class 3 is out of range"),
        ({"class": ["d"]}, Guidance(), "'d' is unknown"),
        ({"actions": torch.zeros(1, 3, dtype=torch.int64)}, Guidance(), "1 samples of 4 frames"),
        ({"actions": lambda frame: torch.tensor([2])}, Guidance(), "whole numbers from -1 to 1"),
        ({"class": lambda frame: torch.tensor([2])}, Guidance(), "no function can steer it"),
        ({}, Guidance(2.0, drop=("text",)), "trained without text"),
        ({}, Guidance(2.0, drop=("class",)), "was not trained without class"),
    ],
)
def test_requests_that_a_generator_cannot_follow_are_refused(conditions, guidance: Guidance, reason: str) -> None:
    model = generator({"class": ClassLabel, "actions": Actions})
    with pytest.raises(UserError, match=reason):
        Request(Draws(0, torch.arange(1)), conditions=conditions).guided(model, guidance)


def test_names_numbers_and_none_are_classes() -> None:
    label = build_conditions({"class": ClassLabel}, {"class": Names(("zero", "one"))}, SPEC, 8)["class"]
    assert label.encode(["one", "0", "none"]).tolist() == [1, 0, -1]

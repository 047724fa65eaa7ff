import json
from dataclasses import dataclass

import pytest

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FrameNames, FreeText, Names, Vocabulary, vocabulary_from_dict


@dataclass(frozen=True)
class Poses(Vocabulary):
    """A kind of condition that only this file knows."""

    axes: int


FACTS = Facts(
    TokenSpec("categorical", 16, (1, 4, 4)),
    {
        "class": Names(("a", "b")),
        "actions": FrameNames(("left",)),
        "text": Text("ab", 4, durations=(0.5, 1.0)),
        "caption": FreeText(),
        "pose": Poses(6),
    },
    fps=10.0,
    tokenizer_path="runs/vq",
    more={"skeleton": "HumanML3D"},
)


@pytest.mark.parametrize("facts", [FACTS, Facts()])
def test_facts_survive_json(facts: Facts) -> None:
    assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_facts_name_what_their_conditions_are() -> None:
    assert (FACTS.class_names, FACTS.action_names, FACTS.text) == (["a", "b"], ["left"], FACTS.conditions["text"])
    assert (Facts().class_names, Facts().action_names, Facts().text) == ([], [], None)


def test_an_unknown_kind_of_vocabulary_is_named() -> None:
    with pytest.raises(UserError, match="there is no vocabulary 'Colours'"):
        vocabulary_from_dict({"kind": "Colours"})

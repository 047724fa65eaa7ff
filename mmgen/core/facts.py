"""What data says of its tokens, in one place: it goes from data to model, run folder, and sampling."""

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Names, Vocabulary, vocabulary_from_dict


@dataclass(frozen=True)
class Facts:
    """What data says of its tokens, for the model that is trained on it. A new fact is one more field, of a plain type.

    Args:
        spec: the tokens; None for raw samples without a tokenizer.
        conditions: what comes with each sample, by name, and the values that it can take: `class`, `actions`, `text`,
            `caption`.
        fps: frames a second of clips and motions; None for what has no frames.
        sample_rate: of sounds, in Hz; None for what is no sound.
        tokenizer_path: run or export folder of the tokenizer that the tokens are of; None where none is known.
        tokenizer_hash: of its weights, so that samples are never decoded with others; None where none is known.
        more: what one modality alone needs, such as the skeleton of a motion; plain types only.
    """

    spec: TokenSpec | None = None
    conditions: Mapping[str, Vocabulary] = field(default_factory=dict)
    fps: float | None = None
    sample_rate: int | None = None
    tokenizer_path: str | None = None
    tokenizer_hash: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """A name for each class, in order; empty where samples have none."""
        return self._names("class")

    @property
    def action_names(self) -> list[str]:
        """A name for each action that may lead to a frame, in order; empty where there are none."""
        return self._names("actions")

    @property
    def text(self) -> Text | None:
        """The alphabet and the longest of texts that are read character by character; None where there are none."""
        text = self.conditions.get("text")
        return text if isinstance(text, Text) else None

    def _names(self, condition: str) -> list[str]:
        vocabulary = self.conditions.get(condition)
        return list(vocabulary.names) if isinstance(vocabulary, Names) else []

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON and checkpoints."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {
            "spec": None if self.spec is None else self.spec.to_dict(),
            "conditions": {name: vocabulary.to_dict() for name, vocabulary in self.conditions.items()},
            "more": dict(self.more),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Facts":
        """Inverse of `to_dict`. Raises UserError, KeyError, TypeError, ValueError or AttributeError for others."""
        conditions = {name: vocabulary_from_dict(each) for name, each in plain["conditions"].items()}
        spec = None if plain["spec"] is None else TokenSpec.from_dict(plain["spec"])
        return cls(**plain | {"spec": spec, "conditions": conditions})

    def require_same(self, trained: Mapping[str, Any], run: str, ignored: tuple[str, ...] = ()) -> None:
        """Raises UserError where a model that was trained with other facts meets these: of their meaning, wherever the
        tokenizer lies.

        Args:
            trained: `to_dict` of the facts that the model was trained with.
            run: what was trained, for the message.
            ignored: fields that may differ.
        """
        own = self.to_dict()
        if (own["spec"] is None) != (trained["spec"] is None) and "spec" not in ignored:
            kinds = ["tokens" if each["spec"] else "raw samples" for each in (trained, own)]
            raise UserError(
                f"{run} is of a model of {kinds[0]}, and this one is of {kinds[1]}: give another checkpoint"
            )
        for name in (name for name in own if name not in ("tokenizer_path", *ignored)):
            if name == "tokenizer_hash" and None in (own[name], trained[name]):
                continue  # not known on one side
            for place, here, then in _differences(name, own[name], trained[name]):
                if name == "tokenizer_hash":
                    raise UserError(trained_anew(str(self.tokenizer_path), run))
                raise UserError(
                    f"{run} was trained on data with {place.removeprefix('conditions.')} {reprlib.repr(then)}, and this"
                    f" data has {reprlib.repr(here)}: give the same data, or train a new run on this"
                )


def trained_anew(tokenizer: str, run: str) -> str:
    """What is wrong where a tokenizer is no longer the one whose tokens a run was trained on."""
    return (
        f"the tokenizer {tokenizer} has been trained anew since {run} was trained on its tokens, and would decode"
        " samples wrongly; restore it, or train the generator again"
    )


def _differences(place: str, here: Any, then: Any) -> Iterator[tuple[str, Any, Any]]:
    """Dotted place and both values, wherever two plain values differ by more than rounding."""
    if isinstance(here, Mapping) and isinstance(then, Mapping):
        for name in dict.fromkeys([*here, *then]):
            yield from _differences(f"{place}.{name}", here.get(name), then.get(name))
    elif isinstance(here, list | tuple) and isinstance(then, list | tuple):
        for number, (one, other) in enumerate(zip(here, then, strict=False)):
            yield from _differences(f"{place}.{number}", one, other)
        if len(here) != len(then):
            yield f"{place} of length", len(here), len(then)
    elif isinstance(here, float) and isinstance(then, float):
        if not math.isclose(here, then, rel_tol=1e-6, abs_tol=1e-9):
            yield place, here, then
    elif here != then:
        yield place, here, then

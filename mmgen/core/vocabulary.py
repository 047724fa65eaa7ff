"""What values a condition can take: an open set of small classes, found by name, that travel with the checkpoint."""

from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

from mmgen.core.errors import UserError, nearest

Kind = TypeVar("Kind")

NO_CLASS = -1  # the number of no name
NO_ACTION = -1  # of a frame to which no known action has led


class Vocabulary:
    """The values of one condition. A new kind is a frozen dataclass of plain fields in a file of its own."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON and checkpoints; `kind` is the name of the class."""
        return {"kind": type(self).__name__} | asdict(self)  # type: ignore[call-overload]  # each is a dataclass

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """From the fields of `to_dict`. A kind whose fields are no plain types converts them here."""
        return cls(**fields)


@dataclass(frozen=True)
class Names(Vocabulary):
    """A fixed list of named values, such as classes, actions or speakers. A value's place in it is its number."""

    names: tuple[str, ...]

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """From a list of names."""
        return cls(tuple(str(name) for name in fields["names"]))

    def number(self, name: str) -> int:
        """The number of a name, of a number written out, or of `none`. Raises UserError where there is none such."""
        if name == "none":
            return NO_CLASS
        if name in self.names:
            return self.names.index(name)
        if name.lstrip("-").isdigit():
            if 0 <= int(name) < len(self.names):
                return int(name)
            raise UserError(f"{name} is out of range: known are 0 to {len(self.names) - 1}")
        raise UserError(f"{name!r} is unknown: known are {', '.join(self.names)}{nearest(name, self.names)}")


@dataclass(frozen=True)
class FrameNames(Names):
    """As `Names`, with a value for each frame of a sample, such as the action that led to it."""


@dataclass(frozen=True)
class Vectors(Vocabulary):
    """Vectors of `size` numbers, such as embeddings of speakers."""

    size: int


@dataclass(frozen=True)
class FreeText(Vocabulary):
    """Any text, such as a caption.

    Args:
        alphabet: all characters that captions of the data have, sorted; empty where they are not known.
        longest: characters of the longest; 0 where that is not known.
    """

    alphabet: str = ""
    longest: int = 0


def vocabulary_from_dict(plain: dict[str, Any]) -> Vocabulary:
    """Inverse of `to_dict`. Raises UserError for an unknown kind; KeyError, TypeError or ValueError for its fields."""
    fields = dict(plain)
    kind = fields.pop("kind")
    known = {each.__name__: each for each in subclasses(Vocabulary)}
    if kind not in known:
        raise UserError(f"there is no vocabulary {kind!r}: known are {', '.join(sorted(known))}")
    return known[kind].from_fields(fields)


def subclasses(kind: type[Kind]) -> list[type[Kind]]:
    """All classes below one, at any depth."""
    direct = kind.__subclasses__()
    return direct + [each for below in direct for each in subclasses(below)]

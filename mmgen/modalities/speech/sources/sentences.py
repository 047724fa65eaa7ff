"""The sentences that are spoken to make a data set: rows of digits, and a small grammar of common words.

A speech recogniser of 39 million weights hears these words right in the default voices, so that its errors in generated
speech are the generator's. Homophones, and short words that a synthesiser slurs, are left out.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Literal, get_args

Kind = Literal["digits", "words", "mixed"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WHO = (
    "the teacher", "the doctor", "the student", "my mother", "my father", "the woman",
    "the police officer", "the young man", "the old woman",
)  # fmt: skip
WHEN = (
    "every morning", "every evening", "every sunday", "on monday", "on saturday", "in the afternoon", "in the summer",
    "in the winter", "after dinner", "before breakfast",
)  # fmt: skip

_TEXTS = ("story", "picture", "message")
_WHICH = ("long", "short", "old", "new", "first", "last", "beautiful", "interesting")
_THINGS = ("window", "door", "table", "floor")
_LOOKS = ("kitchen", "bathroom", "yellow", "green", "big")
_GOALS = ("hospital", "university", "library", "market", "station", "school", "village", "hotel")
_ROOMS = ("garden", "kitchen", "office", "library", "hospital")
_PATTERNS = (
    (WHO, ("reads", "writes", "finds", "remembers"), "the", _WHICH, _TEXTS),
    (WHO, ("is opening", "is cleaning", "is washing"), "the", _LOOKS, _THINGS),
    (WHO, ("is going", "is walking", "is driving"), "to the", _GOALS, WHEN),
    (WHO, ("is working", "is waiting", "is sleeping"), "in the", _ROOMS, WHEN),
)

DRAWS = 6  # numbers that a sentence is made of
_SHORTEST, _LONGEST = 3, 5  # digits
_PAUSE = ", "  # between digits: without it a recogniser takes them for one long number


def sentence(kind: Kind, numbers: Sequence[float]) -> str:
    """One sentence.

    Args:
        kind: rows of 3 to 5 digits in words, such as `three, seven, one`, none twice in a row; sentences of words, such
            as `the teacher reads the long story`; or half of each.
        numbers: `DRAWS` of them in [0, 1): the first chooses what is said, each of the others a word.
    """
    first, *others = numbers
    if kind == "mixed":
        kind, first = ("digits", 2 * first) if first < 0.5 else ("words", 2 * first - 1)
    return _digits(first, others) if kind == "digits" else _words(first, others)


def _digits(first: float, others: Sequence[float]) -> str:
    count = _SHORTEST + int(first * (_LONGEST - _SHORTEST + 1))
    digits: list[int] = []
    for number in others[:count]:
        # All but the last one are equally likely: recognisers drop what is said twice.
        digits.append((digits[-1] + 1 + int(9 * number)) % 10 if digits else int(10 * number))
    return _PAUSE.join(DIGITS[digit] for digit in digits)


def _words(first: float, others: Sequence[float]) -> str:
    pattern = _PATTERNS[int(first * len(_PATTERNS))]
    numbers = iter(others)
    return " ".join(part if isinstance(part, str) else part[int(next(numbers) * len(part))] for part in pattern)


def longest(kind: Kind) -> int:
    """Characters of the longest sentence of a kind."""
    if kind == "mixed":
        return max(longest("digits"), longest("words"))
    if kind == "digits":
        return _LONGEST * max(map(len, DIGITS)) + (_LONGEST - 1) * len(_PAUSE)
    return max(
        sum(len(part) if isinstance(part, str) else max(map(len, part)) for part in pattern) + len(pattern) - 1
        for pattern in _PATTERNS
    )


def vocabulary() -> list[str]:
    """All words of all kinds, sorted."""
    phrases = chain(DIGITS, *([part] if isinstance(part, str) else part for pattern in _PATTERNS for part in pattern))
    return sorted({word for phrase in phrases for word in phrase.split()})


ALPHABET = "".join(sorted({*_PAUSE, *chain(*vocabulary())}))
"""The characters of all kinds, so that a model of one kind can be asked for another."""

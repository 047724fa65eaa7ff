"""What the page calls things, and which colour they have."""

from collections.abc import Sequence
from typing import Any

Colour = tuple[int, int, int]

MODES: dict[str, tuple[str, str]] = {
    "ar": ("Autoregressive", "Token after token in reading order, each given all before it."),
    "masked": ("Masked", "All at once, in a few rounds: the surest tokens first, wherever they are."),
    "block": ("Block diffusion", "Block after block, each revealed in a few rounds, given the finished ones."),
    "frame": ("Frame-wise", "Frame after frame, each in one pass, given all before it."),
    "infill": ("Infilling", "Gaps token after token, given what stands on both sides of them."),
}
COLOURS: dict[str, tuple[str, Colour]] = {
    "ar": ("blue", (66, 140, 224)),
    "masked": ("amber", (236, 136, 40)),
    "block": ("green", (40, 176, 136)),
    "frame": ("blue", (66, 140, 224)),
    "infill": ("amber", (236, 136, 40)),
}
OTHER = ("grey", (150, 150, 150))
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def title(mode: str) -> str:
    """Of a mode."""
    return MODES.get(mode, (mode.capitalize(), ""))[0]


def accent(mode: str) -> Colour:
    """The colour of a mode in pictures."""
    return COLOURS.get(mode, OTHER)[1]


def described(mode: str) -> dict[str, Any]:
    """What every section says of a mode. `colour` is a class of the page, whose shade depends on light or dark."""
    return {
        "name": mode,
        "title": title(mode),
        "how": MODES.get(mode, ("", ""))[1],
        "colour": COLOURS.get(mode, OTHER)[0],
    }


def word(count: int) -> str:
    """Small numbers in letters."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)

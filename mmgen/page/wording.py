"""What a page calls things, and which colour they have."""

from collections.abc import Sequence

from mmgen.core.tokens import TokenSpec

Colour = tuple[int, int, int]

MODES: dict[str, tuple[str, str]] = {
    "ar": ("Autoregressive", "Token after token in reading order, each given all before it."),
    "masked": ("Masked", "All at once, in a few rounds: the surest tokens first, wherever they are."),
    "block": ("Block diffusion", "Block after block, each revealed in a few rounds, given the finished ones."),
    "frame": ("Frame-wise", "Frame after frame, each in one pass, given all before it."),
    "infill": ("Infilling", "Gaps token after token, given what stands on both sides of them."),
}
COLOURS = {"ar": "blue", "masked": "amber", "block": "green", "frame": "blue", "infill": "amber"}
OTHER = "grey"
PALETTE: dict[str, Colour] = {
    "blue": (66, 140, 224),
    "amber": (236, 136, 40),
    "green": (40, 176, 136),
    "violet": (150, 110, 220),
    "rose": (222, 84, 128),
    "grey": (150, 150, 150),
}
"""Classes of the page that set a colour, and that colour in pictures."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


KINDS = {"residual": "residual codes", "continuous": "continuous tokens"}
"""Kinds of tokens, as a person calls them."""


def mode_title(mode: str) -> str:
    """`Autoregressive` for `ar`."""
    return MODES.get(mode, (mode.capitalize(), ""))[0]


def in_letters(count: int) -> str:
    """Small numbers as words."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def join_words(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def describe_tokens(spec: TokenSpec) -> str:
    """`7 × 7 tokens of 10 bits`, or `50 tokens a second, each of 4 codes out of 256`."""
    what = {
        "residual": f"{spec.levels} codes out of {spec.size:,}",
        "continuous": f"{spec.size} numbers",
        "bits": f"{spec.size} bits",
    }.get(spec.kind, f"one code out of {spec.size:,}")
    if spec.rate is not None and spec.grid[1:] == (1, 1):
        return f"{spec.rate:g} tokens a second, each of {what}"
    return f"{' × '.join(str(side) for side in spec.grid if side > 1) or '1'} tokens of {what}"

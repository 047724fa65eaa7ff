"""How a page writes things: modes and their colours, numbers, times, lists."""

from collections.abc import Sequence

from mmgen.core.tokens import TokenSpec

Colour = tuple[int, int, int]

MODES: dict[str, tuple[str, str, str]] = {
    "ar": ("Autoregressive", "Token after token in reading order, each given all before it.", "blue"),
    "masked": ("Masked", "All at once, in a few rounds: the surest tokens first, wherever they are.", "amber"),
    "block": ("Block diffusion", "Block after block, each revealed in a few rounds, given the finished ones.", "green"),
    "frame": ("Frame-wise", "Frame after frame, each in one pass, given all before it.", "blue"),
    "infill": ("Infilling", "Gaps token after token, given what stands on both sides of them.", "amber"),
}
"""Mode -> its title, one sentence on it, and its colour."""

PALETTE: dict[str, Colour] = {
    "blue": (66, 140, 224),
    "amber": (236, 136, 40),
    "green": (40, 176, 136),
    "violet": (150, 110, 220),
    "rose": (222, 84, 128),
    "grey": (150, 150, 150),
}
"""Classes of the page that set a colour, and that colour in pictures."""

KINDS = {"residual": "residual codes", "continuous": "continuous tokens"}
"""Kinds of tokens in words."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SHARES = ("class_accuracy", "label_accuracy", "accuracy", "code_usage", "precision", "recall", "wer")


def mode_title(mode: str) -> str:
    """`Autoregressive` for `ar`."""
    return MODES[mode][0] if mode in MODES else mode.capitalize()


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


def duration(seconds: float) -> str:
    """`7 min 12 s`, `48 s`, `3.2 s`, `12 ms`."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def figure(value: float, name: str = "") -> str:
    """A value as its metric is written: shares in percent unless tiny, seconds as a time, others in four digits."""
    if name.startswith(_SHARES):
        return f"{100 * value:.1f} %" if value == 0 or abs(value) >= 0.0005 else f"{value:.2g}"
    if name.startswith("seconds"):
        return duration(value)
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.4g}"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign: `+3.2`, `−0.4`."""
    return f"{value:+.{digits}f}".replace("-", "−")

"""What is printed on the terminal. Names and texts of others are in it, which must not move the cursor, colour or hide
what stands around them, or end the command because they cannot be encoded.
"""

import builtins
import unicodedata
from typing import Any

_HARMFUL = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no text, and separators of lines
_HARMLESS = "\n\t"
_DIRECTIONS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}  # these turn letters around


def printable(text: str) -> str:
    r"""A text with `\x1b` and the like in the place of what a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(each) if _is_harmful(each) else each for each in text)


def print_safely(*values: Any, **options: Any) -> None:
    """As the built-in `print`, but printable."""
    builtins.print(*(printable(str(each)) for each in values), **options)


def _is_harmful(character: str) -> bool:
    if character in _HARMLESS:
        return False
    return unicodedata.category(character) in _HARMFUL or character in _DIRECTIONS


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python has a byte of a file's name that is no UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"

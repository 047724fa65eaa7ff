"""Text files of others. This is the one place that decides how they are decoded and where their lines end."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from mmgen.core.errors import UserError

LARGEST = 2**28
"""Bytes of the longest text file that is read."""
LARGEST_PACKED = 2**24
"""Bytes of the longest one that is unpacked: a thousand times as long as its file, and lists of lines longer yet."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the mark of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARK = "\ufeff"
_FIRST = 2**16  # bytes, more than most have: asking for all at once takes memory for all


def read_text(path: str | Path, what: str = "") -> str:
    """The text of a file, gzipped where its name ends in .gz, as `decode_text` reads it; `what` stands before its name
    in errors.

    Raises:
        UserError: it cannot be read, is larger than `LARGEST` or `LARGEST_PACKED`, or is no text.
    """
    packed = Path(path).suffix == ".gz"
    most = LARGEST_PACKED if packed else LARGEST
    try:
        with (gzip.open if packed else open)(path, "rb") as file:
            data = file.read(_FIRST)
            if len(data) == _FIRST:
                data += file.read(most + 1 - _FIRST)  # neither a pipe nor a gzipped file says how much it holds
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a name with a NUL
        raise UserError(f"{what}{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > most:
        raise UserError(f"{what}{path} is no text file: it has more than {most >> 20} MiB")
    return decode_text(data, f"{what}{path}")


def decode_text(data: bytes, name: str) -> str:
    """Text in UTF-8, or in UTF-16 or UTF-32 where a byte-order mark says so; the mark is no part of the text.

    Raises:
        UserError: it is not text; the message begins with `name` and the line.
    """
    coding = next((coding for mark, coding in _MARKS if data.startswith(mark)), "utf-8")
    label = coding.removesuffix("-sig").upper()
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1  # its object lacks the mark
        byte = error.object[error.start]
        raise UserError(f"{name}, line {line}: this is not {label} (byte {byte:#04x})") from None
    if "\0" in text:  # UTF-16 without a mark is UTF-8, too
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{name}, line {line}: this is no text in {label} (it holds a NUL)")
    return text


def split_lines(text: str) -> list[str]:
    r"""The lines of a text: they end at \n, \r\n or \r, as in text files everywhere. `str.splitlines` also ends them
    within texts: at form feeds, at separators such as U+2028, and at the control characters U+001C to U+001E and
    U+0085. A line loses the byte-order mark that a file brought which was appended to another.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.removeprefix(_MARK) for line in (lines if lines[-1] else lines[:-1])]


def stream_lines(path: str | Path, longest: int = 2**20) -> Iterator[str]:
    """The lines of a text file in UTF-8 of any size, one after the other, as `split_lines` has them.

    Raises:
        UserError: it cannot be read, is no text, or has a line of more than `longest` characters.
    """
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:  # whose lines end in the same three ways
            while line := file.readline(longest + 1):
                number += 1
                if len(line) > longest:
                    raise UserError(f"{path}, line {number}: more than {longest:,} characters")
                yield line.removesuffix("\n")
    except UnicodeDecodeError as error:  # of a piece of the file, which begins in the line in hand
        number += 1 + error.object[: error.start].count(b"\n")
        raise UserError(f"{path}, line {number}: this is not UTF-8 (byte {error.object[error.start]:#04x})") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_lines(path: str | Path, what: str = "") -> list[str]:
    """The lines of a text file. Raises UserError as `read_text` does."""
    return split_lines(read_text(path, what))

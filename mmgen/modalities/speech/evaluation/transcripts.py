"""Word error rates: texts brought to one spelling, and the share of words that differ."""

import re
import unicodedata
from collections.abc import Sequence

from mmgen.core.errors import UserError

NORMALISED = "lower case, without punctuation and bracketed remarks, numbers in words"
"""Protocol of the texts that are compared."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_REMARK = re.compile(r"\[[^]]*\]|\([^)]*\)")  # what recognisers write for sounds that are no words
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")


def normal(text: str, digit_by_digit: bool = False) -> str:
    """A text as words of lower case with a blank between: no punctuation, no remarks in brackets, numbers in words;
    `digit_by_digit`, `37` is `three seven`, as longer numbers than six digits always are.
    """
    text = unicodedata.normalize("NFKD", _REMARK.sub(" ", text)).lower()
    text = "".join(each for each in text if not unicodedata.combining(each))
    text = text.replace("'", "").replace("’", "")  # "don't" is one word, whoever writes it
    if not digit_by_digit:
        text = _GROUPED.sub("", text)
    text = _NUMBER.sub(lambda number: f" {_spelt(number[0], digit_by_digit)} ", text)
    return " ".join(_WORD.findall(text))


def word_errors(texts: Sequence[str], transcripts: Sequence[str]) -> tuple[float, float]:
    """Word and character error rates of a recogniser's texts: substitutions, insertions and deletions of all texts over
    the words, or characters, of the transcripts; more than 1 is possible. Transcripts of digits only are compared digit
    by digit. Raises UserError for a transcript without a word.
    """
    from torchmetrics.functional.text import char_error_rate, word_error_rate

    pairs = [_pair(one, other) for one, other in zip(texts, transcripts, strict=True)]
    if not pairs or not all(truth for _, truth in pairs):
        raise UserError("word errors are counted against transcripts of at least one word each")
    predicted, truth = ([pair[place] for pair in pairs] for place in (0, 1))
    return word_error_rate(predicted, truth).item(), char_error_rate(predicted, truth).item()


def _pair(text: str, transcript: str) -> tuple[str, str]:
    truth = normal(transcript, digit_by_digit=True)
    digits = set(truth.split()) <= {*_DIGITS}
    return normal(text, digits), truth if digits else normal(transcript)


def _spelt(number: str, digit_by_digit: bool) -> str:
    if digit_by_digit or len(number) > 6 or (len(number) > 1 and number[0] == "0"):
        return " ".join(_DIGITS[int(digit)] for digit in number)
    return _cardinal(int(number))


def _cardinal(number: int) -> str:
    """0 to 999,999 in words, without `and`."""
    if number >= 1000:
        thousands, rest = divmod(number, 1000)
        return f"{_cardinal(thousands)} thousand" + (f" {_cardinal(rest)}" if rest else "")
    if number >= 100:
        hundreds, rest = divmod(number, 100)
        return f"{_DIGITS[hundreds]} hundred" + (f" {_cardinal(rest)}" if rest else "")
    if number >= 20:
        tens, rest = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_DIGITS[rest]}" if rest else "")
    return _TEENS[number - 10] if number >= 10 else _DIGITS[number]

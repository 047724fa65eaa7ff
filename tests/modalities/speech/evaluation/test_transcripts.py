"""Word errors, and the spelling that they are counted in."""

import pytest

from mmgen.core.errors import UserError
from mmgen.modalities.speech.evaluation.transcripts import normal, word_errors
from mmgen.modalities.speech.sources.sentences import KINDS, vocabulary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Teacher\nopens.", "the teacher opens"),
        ("Don’t, it's O.K.!", "dont its o k"),
        ("3, 7", "three seven"),
        ("37", "thirty seven"),
        ("1,234 and 700,000", "one thousand two hundred thirty four and seven hundred thousand"),
        ("0 10 19 20 100", "zero ten nineteen twenty one hundred"),
        ("2.5%", "two five"),
        ("007 and 5551234", "zero zero seven and five five five one two three four"),
        ("café [MUSIC] (applause) well-known", "cafe well known"),
        ("7up", "seven up"),
        ("", ""),
    ],
)
def test_texts_are_brought_to_one_spelling(text: str, expected: str) -> None:
    assert normal(text) == expected
    assert normal(expected) == expected


def test_digits_are_read_one_by_one_where_digits_were_said() -> None:
    assert normal("37, 1,205", digit_by_digit=True) == "three seven one two zero five"
    assert word_errors(["37."], ["three, seven"]) == (0, 0)
    assert word_errors(["37 bottles"], ["thirty seven bottles"]) == (0, 0)


def test_all_words_of_the_sentences_survive() -> None:
    assert KINDS and [normal(word) for word in vocabulary()] == vocabulary()


def test_errors_are_counted_over_all_words_together() -> None:
    transcripts = ["one two three four", "five six"]
    assert word_errors(transcripts, transcripts) == (0, 0)
    assert word_errors(["one two four", "five five six"], transcripts)[0] == pytest.approx(2 / 6)
    assert word_errors(["", "five six"], transcripts)[0] == pytest.approx(4 / 6)
    assert word_errors(["x " * 12, ""], transcripts)[0] > 1
    words, characters = word_errors(["one two three floor", "five six"], transcripts)
    assert words == pytest.approx(1 / 6) and 0 < characters < words
    with pytest.raises(UserError, match="at least one word"):
        word_errors(["hm"], ["..."])

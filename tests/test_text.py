"""Texts as rows of symbols: what is encoded comes back, and what cannot be is named."""

import json

import pytest
import torch

from mmgen.errors import UserError
from mmgen.text import NO_SYMBOL, Text

TEXT = Text(" ,abcdez", 6)


def test_a_text_comes_back() -> None:
    for text in ("a", "abc de", "z, a", "eeeeee"):
        symbols = TEXT.encode(text)
        assert (symbols.shape, symbols.dtype) == ((6,), torch.int64)
        assert TEXT.decode(symbols) == text
        assert (symbols == NO_SYMBOL).sum() == 6 - len(text)
        assert (symbols[: len(text)] >= 0).all()
    assert TEXT.encode("ab").tolist() == [2, 3, -1, -1, -1, -1]


def test_white_space_and_capitals_are_evened_out() -> None:
    assert TEXT.encode("  A\n\tBe ").equal(TEXT.encode("a be"))
    assert Text("aA", 3).encode("aA").tolist() == [0, 1, -1]
    with pytest.raises(UserError, match="'a'"):
        Text("A", 3).encode("a")
    phonemes = Text("aˈɪ", 4)
    assert phonemes.decode(phonemes.encode("ˈaɪ")) == "ˈaɪ"


def test_several_texts_are_rows() -> None:
    assert TEXT.encode_all(["ab", "c"]).equal(torch.stack([TEXT.encode("ab"), TEXT.encode("c")]))
    assert TEXT.encode_all([]).shape == (0, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty one"),
        (" \n", "got an empty one"),
        ("abxyc", "text 'abxyc' has 'x', 'y', unknown here: write it with ' ,abcdez'"),
        ("abcdeab", "text 'abcdeab' has 7 characters, and at most 6 are read"),
        ("x" * 500, r"text 'x{60}…' has 'x', unknown"),
    ],
)
def test_a_text_that_cannot_be_read_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        TEXT.encode(text)
    assert "\n" not in str(caught.value)


def test_what_it_is_survives_json() -> None:
    text = Text("abˈ", 9, 1.5)
    assert Text.from_dict(json.loads(json.dumps(text.to_dict()))) == text
    assert Text.from_dict({"alphabet": "a", "length": 2}) == Text("a", 2)


@pytest.mark.parametrize(
    ("alphabet", "length", "pace"), [("", 3, 1.0), ("aba", 3, 1.0), ("a\n", 3, 1.0), ("a", 0, 1.0), ("a", 3, 0.0)]
)
def test_what_is_no_alphabet_is_refused(alphabet: str, length: int, pace: float) -> None:
    with pytest.raises(UserError):
        Text(alphabet, length, pace)

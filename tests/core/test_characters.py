"""Texts as rows of symbols: what is encoded comes back, and what cannot be is named."""

import json

import pytest
import torch

from mmgen.core.characters import NO_SYMBOL, Text
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import vocabulary_from_dict

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
    assert vocabulary_from_dict(json.loads(json.dumps(text.to_dict()))) == text
    assert vocabulary_from_dict({"kind": "Text", "alphabet": "a", "length": 2}) == Text("a", 2)


def test_characters_stand_where_their_sound_is_to_be_expected() -> None:
    text = Text("ab ", 12, 0.5, (1.0, 0.25, 2.0))
    assert text.encode("aba").tolist() == [0, -1, 1, 0] + 8 * [-1]  # at 0, 1 and 1.25 s, of which two are one place
    assert text.encode("a ab").tolist() == [0, -1, 2, -1, -1, -1, 0, -1, 1, -1, -1, -1]
    assert text.encode("bbbb").tolist() == [1, 1, 1, 1] + 8 * [-1]  # none shares a place
    crowded = text.encode("a a a a")
    assert crowded.tolist() == [0, -1, 2, -1, -1, -1, 0, -1, 2, 0, 2, 0]  # and none is left out
    assert text.decode(crowded) == "a a a a"
    assert text.expected("a ab") == 4.25
    assert Text("ab", 3, 0.5).expected("ab") == 1.0
    assert vocabulary_from_dict(json.loads(json.dumps(text.to_dict()))) == text


def test_words_that_were_heard_stand_where_they_were_and_their_characters_between() -> None:
    text = Text("ab ", 12, 0.5, (1.0, 0.5, 0.0))
    assert text.encode("ab ba").tolist() == [0, -1, 1, 2, 1, 0] + 6 * [-1]  # at 0, 1, 1.5, 1.5 and 2 s
    transcript = [(0, 0.0), (3, 3.0), (5, 4.5)]  # the first word takes twice as long as expected
    assert text.encode("ab ba", transcript).tolist() == [0, -1, -1, -1, 1, -1, 2, 1, 0] + 3 * [-1]
    assert text.encode_all(["ab ba", "a"], [transcript, [(0, 1.0), (1, 2.0)]])[1].tolist() == [-1, -1, 0] + 9 * [-1]
    untimed = Text("ab ", 12, 0.5)
    assert torch.equal(untimed.encode("ab ba", transcript), untimed.encode("ab ba"))


def test_durations_explain_how_long_texts_take() -> None:
    """Against texts that take exactly a sum over characters; what is never seen is as long as the average."""
    alphabet, each = "abcd", {"a": 0.3, "b": 0.1, "c": 0.0}
    draw = torch.Generator().manual_seed(0)
    texts = ["".join("abc"[k] for k in torch.randint(3, (n,), generator=draw)) for n in range(3, 60)] * 20
    seconds = [sum(each[character] for character in text) for text in texts]
    timed = Text.timed(alphabet, 60, 2.0, texts, seconds)
    assert timed.durations is not None
    assert (timed.length, Text.timed(alphabet, 60, 1.0, texts, seconds).length) == (80, 60)
    assert timed.durations[:3] == pytest.approx((0.3, 0.1, 0.0), abs=2e-3)
    assert timed.durations[3] == pytest.approx(sum(seconds) / sum(map(len, texts)), abs=1e-3)
    # Where texts take longer than any sum, what is left over belongs to the characters: none is expected too early.
    timed = Text.timed(alphabet, 60, 2.0, texts, [taken + 0.2 for taken in seconds])
    expected = sum(map(timed.expected, texts))
    assert expected == pytest.approx(sum(seconds) + 0.2 * len(texts), rel=0.02)


def test_what_would_take_less_than_no_time_makes_nothing_else_longer() -> None:
    """A blank that shortens its neighbours takes nothing, and sums over texts are right on average all the same."""
    draw = torch.Generator().manual_seed(0)
    texts = [" ".join("ab"[k] for k in torch.randint(2, (n,), generator=draw)) for n in range(3, 30)] * 20
    seconds = [0.3 * text.count("a") + 0.2 * text.count("b") - 0.1 * text.count(" ") for text in texts]
    timed = Text.timed("ab ", 60, 2.0, texts, seconds)
    assert timed.durations is not None
    assert timed.durations[2] == 0
    assert sum(map(timed.expected, texts)) == pytest.approx(sum(seconds), rel=0.01)


def test_a_character_takes_longer_behind_some_than_behind_others() -> None:
    """Against words of which two of the same characters differ; what is left over is the spread."""
    draw = torch.Generator().manual_seed(0)
    words = ["".join("abc"[k] for k in torch.randint(3, (n,), generator=draw)) for n in range(2, 9) for _ in range(60)]
    seconds = [0.1 * len(word) + 0.2 * word.count("ab") - 0.05 * word.startswith("c") for word in words]
    noise = (0.03 * torch.randn(len(words), generator=draw)).tolist()
    timed = Text.timed("abc ", 60, 2.0, words, [one + other for one, other in zip(seconds, noise, strict=True)], True)
    assert [timed.expected(word) for word in ("ab", "ba", "cab")] == pytest.approx([0.4, 0.2, 0.45], abs=0.02)
    assert timed.spread == pytest.approx(0.03, rel=0.2)
    assert vocabulary_from_dict(json.loads(json.dumps(timed.to_dict()))) == timed
    with pytest.raises(UserError, match="pairs of a text are two characters"):
        Text("ab", 3, 0.1, (0.1, 0.1), {"ax": 0.1})


def test_a_spread_is_not_negative() -> None:
    with pytest.raises(UserError, match=r"spread of a text is at least 0 seconds, got -0\.1"):
        Text("ab", 3, 0.1, spread=-0.1)


@pytest.mark.parametrize("durations", [(0.1,), (0.1, -0.1)])
def test_durations_are_one_a_character(durations: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="has as many durations, none negative"):
        Text("ab", 3, 0.1, durations)


@pytest.mark.parametrize(
    ("alphabet", "length", "pace"), [("", 3, 1.0), ("aba", 3, 1.0), ("a\n", 3, 1.0), ("a", 0, 1.0), ("a", 3, 0.0)]
)
def test_what_is_no_alphabet_is_refused(alphabet: str, length: int, pace: float) -> None:
    with pytest.raises(UserError):
        Text(alphabet, length, pace)

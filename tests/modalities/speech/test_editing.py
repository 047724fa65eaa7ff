import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.speech.alignment import Change, find_span, parse_span, words_of
from mmgen.modalities.speech.editing import edit, splice
from mmgen.store.store import Loaded, load_generator
from tests.spoken_runs import RATE, SECONDS, SPAN_INFILL, STRIDE, codec_run, speech_run

OLD, NEW = "a bad cab", "a big cab"
SPAN, MARGIN = (0.2, 0.3), 0.04


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(speech_run(folder / "gen", codec_run(folder / "codec")))


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """One whose rows end by themselves, and whose spans do too."""
    folder = tmp_path_factory.mktemp("runs")
    paradigm = SPAN_INFILL | {"init_args": {"most": 1, "positions": "closed"}}
    torch.manual_seed(0)  # some weights never end a row
    return load_generator(speech_run(folder / "gen", codec_run(folder / "codec"), paradigm, ends=True))


def hum(samples: int = 777) -> torch.Tensor:
    return 0.3 * torch.sin(torch.arange(samples) * 0.2 + 0.001 * torch.arange(samples) ** 1.2)[None]


@pytest.mark.parametrize("mode", [None, "infill", "masked"])
@pytest.mark.parametrize("new", [NEW, "a cab", "a badge cab"])
def test_outside_the_span_and_its_margin_every_sample_is_the_recorded_one(
    new: str, mode: str | None, loaded: Loaded
) -> None:
    sound = hum()
    edited = edit(loaded, sound, OLD, new, SPAN, MARGIN, mode)
    first, last = round((SPAN[0] - MARGIN) * RATE), round((SPAN[1] + MARGIN) * RATE)
    rest = sound.shape[1] - last
    assert torch.equal(edited.sound[:, :first], sound[:, :first])
    assert torch.equal(edited.sound[:, edited.sound.shape[1] - rest :], sound[:, last:])
    grown = edited.sound.shape[1] - sound.shape[1]
    assert grown % STRIDE == 0
    assert (grown > 0) - (grown < 0) == (len(new) > len(OLD)) - (len(new) < len(OLD))
    assert edited.span == (first / RATE, last / RATE)
    assert edited.made == pytest.approx((first / RATE, (last + grown) / RATE))
    if not grown:
        assert not torch.equal(edited.sound, sound)
        whole = edit(loaded, sound, OLD, new, SPAN, MARGIN, mode)
        assert torch.equal(whole.sound, edited.sound)  # always of the same draws


def test_what_is_kept_are_the_recording_s_tokens(loaded: Loaded) -> None:
    sound = hum()
    assert loaded.tokenizer is not None
    edited = edit(loaded, sound, OLD, NEW, SPAN, MARGIN)
    tokens = loaded.tokenizer.encode(sound[None]).values
    start, stop = round((SPAN[0] - MARGIN) * RATE) // STRIDE, -(-round((SPAN[1] + MARGIN) * RATE) // STRIDE)
    count = tokens.shape[1]
    assert torch.equal(edited.tokens[:, :start], tokens[:, :start])
    assert torch.equal(edited.tokens[:, stop : count - 1], tokens[:, stop : count - 1])


def test_a_part_that_ends_by_itself_moves_what_follows(growing: Loaded) -> None:
    sound = hum(400)
    lengths = set()
    for seed in range(6):
        edited = edit(growing, sound, OLD, NEW, (0.1, 0.15), MARGIN, seed=seed)
        last = round(0.19 * RATE)
        assert torch.equal(edited.sound[:, : round(0.06 * RATE)], sound[:, : round(0.06 * RATE)])
        assert torch.equal(edited.sound[:, edited.sound.shape[1] - (400 - last) :], sound[:, last:])
        assert edited.sound.shape[1] <= RATE * SECONDS + STRIDE
        lengths.add(edited.sound.shape[1])
    assert len(lengths) > 1


@pytest.mark.parametrize("made", [0, 7, 120])
def test_a_splice_touches_nothing_else_and_clicks_nowhere(made: int) -> None:
    ramp = torch.linspace(-0.5, 0.5, 200)[None]
    result = splice(ramp, torch.zeros(1, made), 60, 130, 20)
    assert torch.equal(result[:, :60], ramp[:, :60])
    assert torch.equal(result[:, result.shape[1] - 70 :], ramp[:, 130:])
    assert result.shape[1] == 130 + made
    if made >= 50:
        assert result.diff().abs().max() < 0.03


@pytest.mark.parametrize(
    ("new", "before", "after"),
    [
        ("one five three", ["two"], ["five"]),
        ("One, two -- seven!", ["three"], ["seven"]),
        ("one three", ["two"], []),
        ("one two four three", [], ["four"]),
        ("zero one two three", [], ["zero"]),
        ("four two five", ["one", "two", "three"], ["four", "two", "five"]),
        ("1 2 9", ["three"], ["nine"]),
    ],
)
def test_the_words_that_change_are_found(new: str, before: list[str], after: list[str]) -> None:
    change = Change.between("one, two, three", new)
    assert change.old[change.first : change.last] == before
    assert change.new[change.start : change.stop] == after


def test_words_are_compared_without_punctuation_and_with_digits_spelt() -> None:
    assert words_of("Three, 7 -- it's!") == ["three", "seven", "its"]
    with pytest.raises(UserError, match="nothing would change"):
        Change.between("three, one", "Three one.")


def heard(*times: tuple[str, float, float]) -> object:
    return lambda sound, rate: list(times)


def test_times_of_words_come_from_what_was_heard() -> None:
    sound = torch.zeros(1, 3000)
    three = heard(("One", 0.0, 0.4), ("2,", 0.5, 0.9), ("three", 1.0, 1.5))
    assert find_span(sound, 1000, Change.between("one two three", "one four three"), three) == (0.5, 0.9)
    assert find_span(sound, 1000, Change.between("one two three", "one"), three) == (0.5, 1.5)
    assert find_span(sound, 1000, Change.between("one two three", "one two four three"), three) == (0.9, 1.0)
    assert find_span(sound, 1000, Change.between("one two three", "six one two three"), three) == (0.0, 0.0)
    assert find_span(sound, 1000, Change.between("one two three", "one two three six"), three) == (1.5, 3.0)
    # A word that was taken for another is found by its place, as long as none is missing.
    wrong = heard(("won", 0.0, 0.4), ("too", 0.5, 0.9), ("tree", 1.0, 1.5))
    assert find_span(sound, 1000, Change.between("one two three", "one four three"), wrong) == (0.5, 0.9)
    missing = heard(("one", 0.0, 0.4), ("three", 1.0, 1.5))
    with pytest.raises(UserError, match=r"'one three' was heard instead of 'one two three'.*--span"):
        find_span(sound, 1000, Change.between("one two three", "one four three"), missing)
    assert find_span(sound, 1000, Change.between("one two three", "six two three"), missing) == (0.0, 0.4)


def test_words_between_pauses_need_no_recogniser() -> None:
    sound, noise = torch.zeros(1, 3000), 0.01 * torch.sin(torch.arange(3000) * 0.9)
    for start in (200, 1000, 2000):
        sound[:, start : start + 500] = 0.5 * torch.sin(torch.arange(500) * 0.7)
    change = Change.between("one two three", "one four three")
    for heard_between in (sound, sound + noise):
        start, end = find_span(heard_between, 1000, change, heard())
        assert (start, end) == pytest.approx((1.0, 1.5), abs=0.011)
    with pytest.raises(UserError, match="'nothing' was heard"):
        find_span(sound, 1000, Change.between("one two", "one four"), heard())


def test_the_span_is_found_where_none_is_given(loaded: Loaded) -> None:
    sound = hum()
    align = heard(("a", 0.0, 0.1), ("bad", 0.2, 0.3), ("cab", 0.35, 0.45))
    found = edit(loaded, sound, OLD, NEW, None, MARGIN, align=align)
    assert torch.equal(found.sound, edit(loaded, sound, OLD, NEW, SPAN, MARGIN).sound)


@pytest.mark.parametrize("text", ["0.5", "a:b", "0.5:", "1:2:3"])
def test_a_span_is_two_times(text: str) -> None:
    assert parse_span("0.52:0.93") == (0.52, 0.93)
    with pytest.raises(UserError, match="two times in seconds"):
        parse_span(text)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"span": (0.4, 0.6)}, "does not lie in the 0.486 s"),
        ({"span": (0.2, 0.2), "margin": 0.0}, "is empty"),
        ({"new": "a zoo"}, "unknown here"),
        ({"old": "a zoo"}, "unknown here"),
        ({"mode": "block"}, "was not trained for"),
        ({"label": 5}, "class 5 is out of range"),
        ({"sound": hum(960), "new": "a big bad cab"}, "was trained on 0.6 s: cut it shorter"),
        ({"mode": "ar"}, "cannot see the kept position"),
    ],
)
def test_a_mistake_is_told(changes: dict[str, object], told: str, loaded: Loaded) -> None:
    given = {"sound": hum(), "old": OLD, "new": NEW, "span": SPAN, "margin": MARGIN} | changes
    with pytest.raises(UserError, match=told):
        edit(loaded, **given)  # type: ignore[arg-type]

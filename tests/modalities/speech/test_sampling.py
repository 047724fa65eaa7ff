"""Texts to sounds, on a generator that nobody trained."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.sampling import Prompt, SpeechSamples, sample_speech, stream_speech, without_silence
from mmgen.paradigms import State
from mmgen.sampling.pieces import Piece, decode_rows
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from tests.spoken_runs import BLOCK, CONTINUOUS, STRIDE, TEXT, TOKENS, codec_run, speech_run

TEXTS = ["a bad cab", "fig", "dead head"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(speech_run(folder / "gen", codec_run(folder / "codec")))


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Reads no text, makes continuous tokens block by block."""
    folder = tmp_path_factory.mktemp("runs")
    codec = codec_run(folder / "codec", CONTINUOUS)
    return load_generator(speech_run(folder / "gen", codec, BLOCK, text=None, classes=0))


def task(loaded: Loaded, mode: str | None, texts: list[str], labels: Tensor | None = None, **how: Any) -> SamplingTask:
    labels = torch.full((len(texts),), -1) if labels is None else labels
    return SamplingTask(loaded, mode, {"class": labels, "text": texts}, **how)


def say(*wanted: Any, prompt: Prompt | list[Prompt] | None = None, **how: Any) -> SpeechSamples:
    prompts = prompt if isinstance(prompt, list) else [] if prompt is None else [prompt]
    return sample_speech(task(*wanted, **how), prompts)


def stream(*wanted: Any, prompt: Prompt | None = None, chunk: float = 0.1, **how: Any) -> Iterator[Piece]:
    return stream_speech(task(*wanted, **how), prompt, chunk)


def hum(tokens: float, pitch: float = 0.2) -> Tensor:
    return 0.3 * torch.sin(torch.arange(round(tokens * STRIDE)) * pitch)


def ending(loaded: Loaded, monkeypatch: pytest.MonkeyPatch, lengths: list[int], quick: bool = False) -> None:
    """Rows end where they are told, one token a step; what stands behind their ends is no code."""

    def follow(task: SamplingTask, request: Any, _: int) -> Iterator[State]:
        rows, ends = request.rows, torch.tensor(lengths)[: request.rows]
        places = torch.arange(TOKENS)
        tokens = torch.randint(8, (rows, TOKENS, 2), generator=torch.Generator().manual_seed(0))
        tokens = torch.where((places >= ends[:, None])[..., None], loaded.spec.size, tokens)
        for step in range(max(lengths) + 1):
            now = TOKENS if quick else step
            found = torch.where(ends <= now, ends, TOKENS)
            committed = (places < now) | (places >= found[:, None])
            yield State(tokens, committed, step, 0, step, lengths=found)

    monkeypatch.setattr(SamplingTask, "_states", follow)


def test_a_stream_hands_out_what_is_said_while_it_is_said(loaded: Loaded) -> None:
    spoken = say(loaded, "ar", TEXTS, seed=1)
    chunks = list(stream(loaded, "ar", TEXTS, seed=1, batch=2, chunk=0.1))
    assert [chunk.rows for chunk in chunks] == [slice(0, 2)] * 6 + [slice(2, 3)] * 6  # 24 tokens, 4 at a time
    for row, sound in enumerate(spoken.sounds):
        parts = [chunk for chunk in chunks if chunk.rows.start <= row < chunk.rows.stop]
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert not bool(parts[0].state.committed.all()) and bool((parts[-1].lengths <= parts[-1].stop).all())
        whole = torch.cat([part.values[row - part.rows.start, 0] for part in parts])
        assert len(whole) == TOKENS * STRIDE
        torch.testing.assert_close(whole[: len(sound)], sound, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_a_prompt_is_kept_and_left_out_of_what_is_heard(loaded: Loaded, mode: str) -> None:
    prompts = [Prompt(hum(5.4), "a"), Prompt(hum(8, 0.5), "bed")]
    assert loaded.tokenizer is not None
    for given in (prompts, prompts[0]):
        spoken = say(loaded, mode, ["cab", "fig"], seed=2, prompt=given)
        for row, count in enumerate([5, 8] if isinstance(given, list) else [5, 5]):
            prompt = given[row] if isinstance(given, list) else given
            known = loaded.tokenizer.encode(prompt.sound[None, None, : count * STRIDE]).values[0]
            assert torch.equal(spoken.tokens[row, :count], known)
            assert STRIDE <= len(spoken.sounds[row]) <= (TOKENS - count) * STRIDE
            (whole,) = decode_rows(loaded.tokenizer, spoken.tokens[row : row + 1], [TOKENS * STRIDE])
            torch.testing.assert_close(spoken.sounds[row], whole[0, count * STRIDE :][: len(spoken.sounds[row])])
    again = say(loaded, mode, ["a cab", "a fig"], seed=2)
    assert not torch.equal(again.tokens, spoken.tokens)


def test_a_stream_begins_behind_its_prompt(loaded: Loaded) -> None:
    prompt = Prompt(hum(5), "a")
    spoken = say(loaded, "ar", ["cab"], seed=2, prompt=prompt)
    chunks = list(stream(loaded, "ar", ["cab"], seed=2, prompt=prompt, chunk=0.05))
    assert (chunks[0].start, chunks[0].stop, chunks[-1].stop) == (0, 2 * STRIDE, (TOKENS - 5) * STRIDE)
    whole = torch.cat([chunk.values[0, 0] for chunk in chunks])
    torch.testing.assert_close(whole[: len(spoken.sounds[0])], spoken.sounds[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("quick", [False, True])
def test_rows_that_end_by_themselves_are_as_long_as_they_are(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    ending(loaded, monkeypatch, [7, 3, 12], quick)
    spoken = say(loaded, "ar", TEXTS)
    assert [len(sound) for sound in spoken.sounds] == [7 * STRIDE, 3 * STRIDE, 12 * STRIDE]
    assert spoken.lengths.tolist() == [7, 3, 12]
    assert not bool(spoken.tokens[0, 7:].any()) and int(spoken.tokens.max()) < loaded.spec.size
    chunks = list(stream(loaded, "ar", TEXTS, chunk=0.1))
    assert chunks[-1].stop == 12 * STRIDE and chunks[-1].lengths.tolist() == [7 * STRIDE, 3 * STRIDE, 12 * STRIDE]
    whole = torch.cat([chunk.values[:, 0] for chunk in chunks], dim=1)
    for row, sound in enumerate(spoken.sounds):
        torch.testing.assert_close(whole[row, : len(sound)], sound, atol=1e-5, rtol=0)
        assert not bool(whole[row, len(sound) :].any())


def test_a_row_that_ends_at_once_is_a_token_of_silence(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    ending(loaded, monkeypatch, [0])
    assert torch.equal(say(loaded, "ar", ["fig"]).sounds[0], torch.zeros(STRIDE))
    assert list(stream(loaded, "ar", ["fig"])) == []


def test_a_decoder_that_needs_the_whole_hears_nothing_behind_a_row_s_end(loaded: Loaded) -> None:
    class Reversed:
        """Its first sample tells of the last token."""

        spec = loaded.spec

        def streaming(self) -> None:
            raise UserError("it looks ahead")

        def decode(self, tokens: Tokens) -> Tensor:
            return tokens.values[..., 0].flip(1).repeat_interleave(STRIDE, 1)[:, None].float() / 8

    tokens = torch.randint(8, (2, 6, 2), generator=torch.Generator().manual_seed(0))
    one, other = decode_rows(Reversed(), tokens, [6 * STRIDE, 4 * STRIDE])  # type: ignore[arg-type]
    assert (one.shape[1], other.shape[1]) == (6 * STRIDE, 4 * STRIDE)
    assert other[0, 0] == tokens[1, 3, 0] / 8


def test_speech_without_texts_and_of_continuous_tokens(mute: Loaded) -> None:
    spoken = say(mute, None, ["", ""])
    assert spoken.tokens.shape == (2, TOKENS, 4)
    prompted = say(mute, None, [""], prompt=Prompt(hum(6), ""))
    assert mute.tokenizer is not None
    torch.testing.assert_close(prompted.tokens[:, :6], mute.tokenizer.encode(hum(6)[None, None]).values)
    assert len(list(stream(mute, None, [""]))) == 4  # blocks of 6 tokens


def test_only_silence_at_the_end_is_cut() -> None:
    sound = torch.cat([torch.zeros(800), hum(50), torch.zeros(4000)])
    cut = without_silence(sound, 8000)
    assert 800 + 50 * STRIDE <= len(cut) <= 800 + 50 * STRIDE + 8000 // 10
    assert torch.equal(cut, sound[: len(cut)])
    assert torch.equal(without_silence(cut, 8000), cut)
    assert torch.equal(without_silence(hum(50), 8000), hum(50))
    assert len(without_silence(sound + 1e-4 * torch.randn(len(sound)).clamp(-3, 3), 8000)) == len(cut)  # soft noise
    assert len(without_silence(torch.zeros(4000), 8000, 40)) == 40


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["zoo"], {}, "'o', 'z', unknown here"),
        (["a" * (TEXT.length + 1)], {}, f"{TEXT.length + 1} characters, and at most {TEXT.length}"),
        (["fig"], {"frames": 0}, "at least 1 sample"),
        (["fig"], {"prompt": Prompt(hum(0.5), "a")}, "at least a token of 0.025 s"),
        (["fig"], {"prompt": Prompt(hum(TOKENS), "a")}, "leave room in the 0.60 s of a sample"),
        (["a" * (TEXT.length - 4)], {"prompt": Prompt(hum(4), "dead")}, f"'dead a.* has {TEXT.length + 1} characters"),
    ],
)
def test_mistakes_are_told_before_anything_is_said(
    loaded: Loaded, texts: list[str], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SamplingTask, "_states", None)
    for way in (say, stream):
        with pytest.raises(UserError, match=message):
            way(loaded, "ar", texts, **options)

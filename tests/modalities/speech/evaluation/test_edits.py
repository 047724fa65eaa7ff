"""Figures of editing: which word becomes which, what is counted, and that a touched recording is found out."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.evaluation.command import ModeSampling
from mmgen.modalities.speech.evaluation import edits as speech_edits
from mmgen.modalities.speech.evaluation.edits import measure_edits, with_another_word
from mmgen.modalities.speech.evaluation.generator import Sentences
from mmgen.modalities.speech.evaluation.listeners import Listeners
from mmgen.store.store import Loaded, load_generator
from tests.evaluation.sounds import Parrot
from tests.spoken_runs import RATE, STRIDE, codec_run, speech_run

TEXTS = ["ab cd ef", "ab gh ef", "ab gh ef", "ab ij ef", "a b c"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(speech_run(folder / "gen", codec_run(folder / "codec")))


def align(sound: Tensor, sample_rate: int) -> list[tuple[str, float, float]]:
    """Three words of 0.15 s each."""
    return [(word, 0.15 * place, 0.15 * (place + 1)) for place, word in enumerate(("ab", "cd", "ef"))]


def sentences(*texts: str) -> Sentences:
    sounds = [torch.rand(20 * STRIDE) - 0.5 for _ in texts]
    return Sentences(list(texts), list(texts), sounds, torch.zeros(len(texts), dtype=torch.int64))


def test_a_word_becomes_one_that_stands_between_the_same_two() -> None:
    assert with_another_word("ab cd ef", TEXTS) == "ab gh ef"  # the most frequent one
    assert with_another_word("ab gh ef", TEXTS) == "ab cd ef"
    assert with_another_word("a b c", TEXTS) is None
    assert with_another_word("ef ab", TEXTS) is None


def test_edits_are_counted_and_leave_the_rest_as_it_is(loaded: Loaded) -> None:
    listeners, infill = Listeners(Parrot(), None, naturalness=False), ModeSampling(loaded, "infill")
    recordings = sentences("ab cd ef", "a b c", "ab ij ef a")  # in the last one a word is not heard
    figures = {each.name: each for each in measure_edits(infill, recordings, TEXTS, listeners, align)}
    assert list(figures) == ["wer_edited_parrot", "edit_outside"]
    assert figures["edit_outside"].value == 0
    for figure in figures.values():
        assert figure.protocol["edits"] == "1 of 2 recordings, in the others the words were not found"
    assert not measure_edits(infill, recordings, TEXTS, Listeners(None, None, naturalness=False), align)
    assert not measure_edits(infill, sentences("a b c"), TEXTS, listeners, align)


@pytest.mark.parametrize("sample", [0, -1])
def test_a_recording_that_is_touched_elsewhere_is_found_out(
    loaded: Loaded, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = speech_edits.edit

    def careless(*arguments: Any) -> Any:
        made = honest(*arguments)
        sound = made.sound.clone()
        sound[0, sample] += 0.25
        return replace(made, sound=sound)

    monkeypatch.setattr(speech_edits, "edit", careless)
    listeners = Listeners(Parrot(), None, naturalness=False)
    figures = measure_edits(ModeSampling(loaded, "infill"), sentences("ab cd ef"), TEXTS, listeners, align=align)
    assert figures[-1].value == pytest.approx(0.25)
    assert loaded.facts.sample_rate == RATE

"""Figures of sounds beside the same sounds as they were."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.speech.evaluation.signal_metrics import (
    WORST_PESQ,
    mel_distance,
    pair_metrics,
    pesq,
    si_sdr_db,
    stoi,
)
from tests.evaluation.sounds import RATE, babble, noisy

pytest.importorskip("pesq")
pytest.importorskip("pystoi")


def test_a_sound_against_itself_is_perfect() -> None:
    sounds = babble()
    values = {each.name: each.value for each in pair_metrics([(x, x) for x in sounds], RATE)}
    assert list(values) == ["stoi", "pesq", "mel_distance", "si_sdr_db"]
    assert values["stoi"] == pytest.approx(1)
    assert values["pesq"] > 4.5
    assert values["mel_distance"] == 0
    assert values["si_sdr_db"] > 60


def test_figures_are_ordered_by_noise() -> None:
    sounds = babble(2)
    reports = [pair_metrics([(noisy(x, s), x) for x in sounds], RATE) for s in (0.002, 0.02, 0.1, 0.5)]
    for place, sign in enumerate((-1, -1, 1, -1)):
        values = [sign * report[place].value for report in reports]
        assert values == sorted(set(values)), reports[0][place].name


def test_the_rate_chooses_the_band_and_is_told() -> None:
    (sound,) = babble(1, rate=16000)
    by_name = {each.name: each for each in pair_metrics([(noisy(sound, 0.01), sound)], 16000)}
    assert by_name["pesq"].protocol == {"pesq": "wide band at 16 kHz"}
    assert "80 bands" in by_name["mel_distance"].protocol["mel_distance"]
    narrow = pair_metrics([(noisy(sound[::2], 0.01), sound[::2])], 8000)[1]
    assert narrow.protocol == {"pesq": "narrow band at 8 kHz"}
    assert 1 < pesq(noisy(sound, 0.01), sound, 16000) < 4.6  # type: ignore[operator]
    assert pesq(noisy(sound[::4], 0.01), sound[::4], 4000) is not None


def test_what_has_no_speech_counts_for_nothing_and_is_told() -> None:
    (sound,), silence = babble(1), torch.zeros(4000)
    for measure in (stoi, pesq, si_sdr_db):
        assert measure(silence, silence, RATE) is None
    assert stoi(sound[:800], sound[:800], RATE) is None and pesq(sound[:800], sound[:800], RATE) is None
    figures = pair_metrics([(noisy(sound, 0.01), sound), (silence, silence)], RATE)
    single = pair_metrics([(noisy(sound, 0.01), sound)], RATE)
    assert [each.value for each in figures[:2]] == [each.value for each in single[:2]]
    assert figures[0].protocol["stoi without"] == "1 of too little"
    with pytest.raises(UserError, match="none of the 1 sounds has speech"):
        pair_metrics([(silence, silence)], RATE)
    with pytest.raises(UserError, match="no sounds"):
        pair_metrics([], RATE)


def test_speech_that_was_lost_has_the_worst_figures() -> None:
    (sound,) = babble(1)
    assert pesq(torch.zeros_like(sound), sound, RATE) == WORST_PESQ
    assert stoi(torch.zeros_like(sound), sound, RATE) == pytest.approx(0, abs=0.05)
    assert mel_distance(torch.zeros_like(sound), sound, RATE) > 2 * mel_distance(noisy(sound, 0.001), sound, RATE)


def test_si_sdr_does_not_mind_the_volume() -> None:
    (sound,) = babble(1)
    made = noisy(sound, 0.05)
    assert si_sdr_db(0.3 * made, sound, RATE) == pytest.approx(si_sdr_db(made, sound, RATE), abs=1e-2)

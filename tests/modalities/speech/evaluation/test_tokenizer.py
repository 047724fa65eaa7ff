"""Figures of tokenizers of speech that lose known amounts, and of streams that go wrong in known ways."""

from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.evaluation.coding import coding_times
from mmgen.evaluation.command import Metric
from mmgen.modalities.speech.evaluation.tokenizer import measure_speech_tokenizer
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.tokenizers import TokenizerStream
from tests.evaluation.sounds import RATE, Parrot, Recordings, babble

pytest.importorskip("pesq")
pytest.importorskip("pystoi")

STRIDE = 8


class Coarse(AudioTokenizer):
    """Eight samples a token, each in so many levels (exact where there are none). Its stream adds `slip`."""

    sample_rate, sample_shape, latency = RATE, (1, 800), STRIDE

    def __init__(self, levels: int | None, slip: float = 0.0, streams: bool = True) -> None:
        super().__init__()
        self.levels, self.slip, self.streams = levels, slip, streams
        kind: Any = ("continuous", STRIDE, 1) if levels is None else ("residual", levels, STRIDE)
        self.spec = TokenSpec(
            kind[0], kind[1], (100, 1, 1), kind[2], modality="speech", rate=RATE / STRIDE, stride=STRIDE, first=STRIDE
        )
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)))

    def encode(self, x: Tensor) -> Tokens:
        values = rearrange(self.filled(x), "b 1 (t s) -> b t s", s=STRIDE)
        if self.levels is not None:
            values = ((values + 1) / 2 * (self.levels - 1)).round().long()
        return Tokens(values, (values.shape[1], 1, 1))

    def decode(self, tokens: Tokens, samples: int | None = None) -> Tensor:
        samples = self.clip_length(tokens, samples)
        values = tokens.values if self.levels is None else tokens.values / (self.levels - 1) * 2 - 1
        return rearrange(values, "b t s -> b 1 (t s)")[..., :samples]

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError

    def streaming(self) -> TokenizerStream:
        if not self.streams:
            raise UserError("not causal")
        return Slipping(self)


class Slipping(TokenizerStream):
    def encode_chunk(self, x: Tensor) -> Tokens:
        return self._tokenizer.encode(x)

    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        return self._tokenizer.decode(tokens, frames) + self._tokenizer.slip  # type: ignore[operator, call-arg]


def by_name(metrics: list[Metric]) -> dict[str, Metric]:
    return {each.name: each for each in metrics}


def timing(tokenizer: AudioTokenizer, sounds: list[Tensor]) -> dict[str, Metric]:
    clips = [sound[None] for sound in sounds]
    return by_name(coding_times(tokenizer, clips, RATE, tokenizer.latency, "sound", "largest difference"))


def test_figures_get_better_with_the_codebook() -> None:
    samples = Recordings(babble(2))
    reports = [measure_speech_tokenizer(Coarse(levels), samples, batch=1).values for levels in (9, 33, 257)]
    names = ["stoi", "pesq", "mel_distance", "si_sdr_db", "kbps", "code_usage", "code_perplexity"]
    assert list(reports[0]) == [*names, "real_time_factor", "latency_ms", "streaming_error"]
    for name, sign in {"stoi": 1, "pesq": 1, "mel_distance": -1, "si_sdr_db": 1, "kbps": 1}.items():
        values = [sign * each[name] for each in reports]
        assert values == sorted(set(values)), name
    assert reports[0]["kbps"] == pytest.approx(RATE / STRIDE * STRIDE * 3.17 / 1000, rel=1e-3)
    assert reports[0]["latency_ms"] == 1000 * STRIDE / RATE
    assert reports[0]["streaming_error"] == 0 < reports[0]["real_time_factor"]


def test_the_silence_that_fills_clips_up_counts_for_nothing() -> None:
    sounds = [sound[: 9000 - 3 * row] for row, sound in enumerate(babble(3))]
    short, long = (measure_speech_tokenizer(Coarse(17), Recordings(sounds, room=room), batch=2) for room in (0, 16000))
    for name in ("stoi", "pesq", "mel_distance", "si_sdr_db", "code_usage", "code_perplexity"):
        assert short.values[name] == long.values[name]
    assert [len(sound) for sound in long.samples] == [9000, 8997, 8994]


def test_continuous_tokens_have_neither_bits_nor_codes() -> None:
    report = measure_speech_tokenizer(Coarse(None), Recordings(babble(1)))
    assert set(report.values) & {"kbps", "code_usage", "code_perplexity"} == set()
    assert report.values["stoi"] == pytest.approx(1) and report.values["mel_distance"] == 0
    assert "tokens_encoded_otherwise" not in by_name(report.metrics)["streaming_error"].protocol


def test_a_recogniser_hears_what_was_decoded_and_the_recordings() -> None:
    sounds = [0.8 * sound / sound.abs().max() for sound in babble(2)]
    samples = Recordings(sounds, ["word " * 8, "word " * 10])
    metrics = by_name(measure_speech_tokenizer(Coarse(257), samples, Parrot()).metrics)
    assert metrics["wer_floor_parrot"].value == metrics["wer_parrot"].value == pytest.approx(2 / 18)
    assert metrics["cer_parrot"].value > 0
    assert metrics["wer_parrot"].protocol["recogniser"] == "a parrot" and "texts" in metrics["wer_parrot"].protocol
    with pytest.raises(UserError, match="no transcripts"):
        measure_speech_tokenizer(Coarse(257), Recordings(sounds), Parrot())


@pytest.mark.parametrize("levels", [None, 17])
def test_a_stream_that_slips_is_found_out(levels: int | None) -> None:
    metrics = timing(Coarse(levels, slip=0.25), [sound[:1003] for sound in babble(2)])
    assert metrics["streaming_error"].value == pytest.approx(0.25)
    if levels is not None:
        assert metrics["streaming_error"].protocol["tokens_encoded_otherwise"] == "0"


def test_tokens_that_a_stream_encodes_otherwise_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsteady(Slipping):
        def encode_chunk(self, x: Tensor) -> Tokens:
            tokens = super().encode_chunk(x)
            tokens.values[:, 0, 0] = (tokens.values[:, 0, 0] + 1) % 3
            return tokens

    tokenizer = Coarse(3)
    monkeypatch.setattr(tokenizer, "streaming", lambda: Unsteady(tokenizer))
    metrics = timing(tokenizer, babble(1))
    assert metrics["streaming_error"].value == 0
    assert metrics["streaming_error"].protocol["tokens_encoded_otherwise"] == f"{1 / STRIDE:.2g}"


def test_a_tokenizer_that_needs_the_whole_has_no_latency() -> None:
    assert set(timing(Coarse(5, streams=False), babble(2))) == {"real_time_factor"}


def test_no_clips_are_told() -> None:
    with pytest.raises(UserError, match="no held-out samples"):
        measure_speech_tokenizer(Coarse(4), Recordings([]))

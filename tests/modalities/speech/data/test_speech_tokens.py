"""Speech as tokens: what belongs to a clip goes with it, and only tokens of sound count."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.encoded import encoded_spec
from mmgen.data.sources import CachedTokens
from mmgen.data.tokenize import write_shards
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.tokenizers import Reconstruction, Tokenizer
from tests.data_modules import data_module

STRIDE = 320


class Loudness(Tokenizer):
    """A token for 320 samples: their mean, in 256 levels."""

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__()
        self.sample_rate, self.sample_shape = sample_rate, (1, 8000)
        audio = {"modality": "speech", "rate": sample_rate / STRIDE, "stride": STRIDE, "first": STRIDE}
        self.spec = TokenSpec("categorical", 256, (25, 1, 1), **audio)
        self.register_buffer("weight", torch.ones(()))
        self.batches: list[int] = []

    def encode(self, x: Tensor) -> Tokens:
        self.batches.append(len(x))
        means = torch.nn.functional.pad(x, (0, -x.shape[2] % STRIDE)).unfold(2, STRIDE, STRIDE).mean(-1)[:, 0]
        return Tokens(((means + 1) * 127.5).round().long(), (means.shape[1], 1, 1))

    def decode(self, tokens: Tokens) -> Tensor:
        return (tokens.values[:, None] / 127.5 - 1).repeat_interleave(STRIDE, 2)

    def forward(self, x: Tensor) -> Reconstruction:
        tokens = self.encode(x)
        return Reconstruction(self.decode(tokens), tokens, {})


@pytest.fixture
def source(tmp_path: Path) -> SpeechFolder:
    return SpeechFolder(**SpeechFolder.make_fake(tmp_path / "speech", samples=20))


def test_text_and_length_go_with_the_tokens(
    tmp_path: Path, source: SpeechFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Loudness()
    write_shards(tmp_path / "tokens", source, tokenizer, "runs/x", shard_size=7, batch=3)
    assert max(tokenizer.batches) == 3  # seconds
    cached = CachedTokens(tmp_path / "tokens")
    assert (cached.text, cached.sample_rate, cached.class_names) == (source.text, 16000, source.class_names)
    assert (cached.sample_shape, cached.spec) == ((1, 16000), tokenizer.spec.with_frames(16000))
    for split in ("train", "val"):
        index = torch.arange(len(source.samples(split)))
        raw, kept = source.samples(split).take(index), cached.samples(split).take(index)
        assert set(kept) == {"values", "label", "sample", "text", "length"}
        assert all(kept[name].equal(raw[name]) for name in ("label", "sample", "text", "length"))
        assert cached.samples(split).texts(index) == [
            each.lower().strip() for each in source.samples(split).texts(index)
        ]
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: tokenizer)
    fake = {"root": str(tmp_path / "speech"), "seconds": 1.0}
    encoded = data_module(SpeechFolder, **fake, tokenizer="runs/x", global_batch_size=6)
    stored = data_module(CachedTokens, str(tmp_path / "tokens"), global_batch_size=6)
    assert encoded.spec == stored.spec
    assert encoded.source.conditions == stored.source.conditions
    for one, other in zip(encoded.train_dataloader(), stored.train_dataloader()):
        one, other = encoded.on_after_batch_transfer(one, 0), stored.on_after_batch_transfer(other, 0)
        tokens, again = one["tokens"], other["tokens"]
        assert tokens.values.equal(again.values)
        assert tokens.grid == again.grid == (50, 1, 1)
        expected = torch.tensor([-(-length // STRIDE) for length in one["length"].tolist()])
        assert tokens.lengths.equal(expected)
        assert again.lengths.equal(expected)
        assert one["text"].equal(other["text"])
        silence = tokens.values[torch.arange(50) >= tokens.lengths[:, None]]
        assert silence.numel() > 0
        assert (silence == 128).all()
        break


def test_crops_have_lengths_and_no_text(tmp_path: Path) -> None:
    fake = SpeechFolder.make_fake(tmp_path / "speech", samples=10)
    write_shards(tmp_path / "tokens", SpeechFolder(**fake, crop=0.7), Loudness(), "x")
    cached = CachedTokens(tmp_path / "tokens")
    assert (cached.text, cached.spec.grid) == (None, (35, 1, 1))
    assert set(cached.samples("val")[0]) == {"values", "label", "sample", "length"}
    with pytest.raises(UserError, match="no transcripts"):
        cached.samples("val").texts(torch.tensor([0]))


def test_another_rate_is_refused(source: SpeechFolder, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"tokenizer runs/x takes sounds at 24000 Hz, but the data has sounds at 16000 Hz"
    ):
        encoded_spec(Loudness(24000), source, "runs/x")
    digits = Digits(**Digits.make_fake(tmp_path / "digits"))
    with pytest.raises(UserError, match=r"takes samples of shape \(1, 8000\), but the data has \(1, 28, 28\)"):
        encoded_spec(Loudness(), digits, "runs/x")

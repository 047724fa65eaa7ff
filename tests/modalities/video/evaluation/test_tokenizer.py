"""Figures of tokenizers of clips that lose known amounts, and of streams that go wrong in known ways."""

import math
from typing import Any

import pytest
import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.sources import Batch, Samples
from mmgen.evaluation.coding import stream_times
from mmgen.evaluation.command import Metric
from mmgen.evaluation.extractors import as_floats
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.frechet_video import get_video_extractor
from mmgen.modalities.video.evaluation.tokenizer import measure_video_tokenizer
from mmgen.tokenizers import TimedTokenizer, TokenizerStream
from tests.evaluation.clips import moving


class Clips(Samples):
    """Clips in memory."""

    def __init__(self, clips: Tensor) -> None:
        self.clips = to_uint8(clips)

    def __len__(self) -> int:
        return len(self.clips)

    def take(self, index: Tensor) -> Batch:
        return {"x": as_floats(self.clips[index]), "label": torch.full_like(index, -1), "sample": index}


class Groups(TimedTokenizer):
    """16 x 16 frames to 8 x 8 tokens a group of two frames: the mean of each cell, in so many grey levels; the exact
    mean where there are none. Its stream adds `slip` to every chunk but the first.
    """

    def __init__(self, levels: int | None, slip: float = 0.0) -> None:
        super().__init__()
        self.levels, self.slip = levels, slip
        kind = ("continuous", 1) if levels is None else ("categorical", levels)
        self.spec = TokenSpec(kind[0], kind[1], (3, 8, 8), modality="video", stride=2, first=1)  # type: ignore[arg-type]
        self.sample_shape = (1, 5, 16, 16)
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)))

    def encode(self, x: Tensor) -> Tokens:
        lead = (-x.shape[2]) % 2
        x = torch.cat([x[:, :, :1].expand(-1, -1, lead, -1, -1), x], dim=2)
        cells = reduce(x, "b 1 (t p) (h r) (w c) -> b t h w", "mean", p=2, r=2, c=2)
        values, grid = rearrange(cells, "b t h w -> b (t h w)"), tuple(cells.shape[1:])
        if self.levels is None:
            return Tokens(values[..., None], grid)  # type: ignore[arg-type]
        return Tokens(((values + 1) / 2 * (self.levels - 1)).round().long(), grid)  # type: ignore[arg-type]

    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        frames = self.clip_length(tokens, frames)
        values = tokens.values[..., 0] if self.levels is None else tokens.values / (self.levels - 1) * 2 - 1
        cells = rearrange(values, "b (t h w) -> b t h w", h=8, w=8)
        return repeat(cells, "b t h w -> b 1 (t p) (h r) (w c)", p=2, r=2, c=2)[:, :, -frames:]

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError

    def streaming(self) -> TokenizerStream:
        return Slipping(self)


class Slipping(TokenizerStream):
    def encode_chunk(self, x: Tensor) -> Tokens:
        return self._tokenizer.encode(x)

    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        slip = self._tokenizer.slip if self.decoded else 0.0
        return self._tokenizer.decode(tokens, frames) + slip  # type: ignore[operator]


def by_name(figures: list[Metric]) -> dict[str, Metric]:
    return {each.name: each for each in figures}


def test_figures_get_better_with_the_codebook() -> None:
    samples, extractor = Clips(moving(20, frames=5)), get_video_extractor("frames_pixels", (1, 5, 16, 16))
    reports = [measure_video_tokenizer(Groups(levels), samples, extractor, batch=6) for levels in (2, 4, 32)]
    names = {"psnr_db", "ssim", "bits_per_frame", "code_usage", "code_perplexity"}
    names |= {"rfvd_frames_pixels", "latency_ms", "streaming_error"}
    assert [set(each.values) for each in reports] == [names] * 3
    for name, sign in (("psnr_db", 1), ("ssim", 1), ("code_perplexity", 1), ("rfvd_frames_pixels", -1)):
        values = [sign * each.values[name] for each in reports]
        assert values == sorted(set(values)), name
    assert [each.values["bits_per_frame"] for each in reports] == [64 * bits * 3 / 5 for bits in (1, 2, 5)]


def test_psnr_is_that_of_all_pixels_and_its_list_that_of_each_frame() -> None:
    samples = Clips(moving(6, frames=5))
    report = measure_video_tokenizer(Groups(4), samples, batch=4)
    gap = (as_floats(report.samples) - samples.take(torch.arange(6))["x"]).square() / 4
    assert report.values["psnr_db"] == pytest.approx(-10 * gap.mean().log10().item(), rel=1e-5)
    expected = [-10 * math.log10(gap[:, :, frame].mean().item()) for frame in range(5)]
    assert by_name(report.metrics)["psnr_db"].protocol["per_frame"] == pytest.approx(expected, rel=1e-3)
    # The first frame stands alone in its group, and loses nothing to its neighbour.
    assert expected[0] > max(expected[1:])


def test_what_is_lost_nowhere_has_no_list_of_infinities() -> None:
    still = torch.zeros(3, 1, 5, 16, 16)
    still[..., ::2] = 1
    report = measure_video_tokenizer(Groups(None), Clips(still.repeat_interleave(2, -1)[..., :16]))
    assert math.isinf(report.values["psnr_db"])
    assert by_name(report.metrics)["psnr_db"].protocol == {}
    assert report.values["ssim"] == pytest.approx(1)


def test_continuous_tokens_have_neither_bits_nor_codes_and_clips_of_any_length_are_measured() -> None:
    report = measure_video_tokenizer(Groups(None), Clips(moving(4, frames=8)))
    assert set(report.values) == {"psnr_db", "ssim", "latency_ms", "streaming_error"}
    assert report.values["streaming_error"] == 0
    assert "tokens_encoded_otherwise" not in by_name(report.metrics)["streaming_error"].protocol
    assert len(by_name(report.metrics)["ssim"].protocol["per_frame"]) == 8


@pytest.mark.parametrize("levels", [None, 8])
def test_a_stream_that_slips_is_found_out(levels: int | None) -> None:
    latency, error = stream_times(Groups(levels, slip=0.25), list(moving(2, frames=5)))
    assert error.value == pytest.approx(0.25)
    assert error.protocol["streaming"].startswith("2 frames at a time")
    assert error.protocol.get("tokens_encoded_otherwise") == (None if levels is None else "0")
    assert latency.value > 0 and latency.protocol["first_frame_ms"] > 0

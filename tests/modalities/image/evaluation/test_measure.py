import math
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.sources.images import StoredImages
from mmgen.evaluation.extractors import Pixels
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.measure import check_mode, measure_mode, measure_tokenizer, real_features
from mmgen.modalities.image.sampling import sample_images
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.store.store import Loaded, load_generator
from mmgen.tokenizers import Tokenizer
from tests.tiny_runs import generator_run, tokenizer_run

MODES = ["ar", "masked", "block"]


class Cells(Tokenizer):
    """16 x 16 images to 8 x 8 tokens: the mean of each cell, in so many grey levels."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.spec = TokenSpec("categorical", levels, (1, 8, 8))
        self.sample_shape = (1, 16, 16)
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)))

    def encode(self, x: Tensor) -> Tokens:
        cells = nn.functional.avg_pool2d(x, 2).flatten(1)
        return Tokens(((cells + 1) / 2 * (self.levels - 1)).round().long(), self.spec.grid)

    def decode(self, tokens: Tokens) -> Tensor:
        cells = rearrange(tokens.values, "b (h w) -> b 1 h w", h=8) / (self.levels - 1) * 2 - 1
        return cells.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError


class Mean:
    """A judge of three classes: dark, grey and bright."""

    name, distance, num_features, classes, accuracy = "mean", "fd", 1, 3, 1.0
    protocol = {"resize": "none"}  # noqa: RUF012

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True)

    def logits(self, x: Tensor) -> Tensor:
        return -(self(x) - torch.tensor([-0.7, 0.0, 0.7])).abs()


def images(count: int, side: int) -> StoredImages:
    """Held-out images: smooth noise."""
    x = nn.functional.interpolate(Draws(0, torch.arange(count)).normal("x", 1, 4, 4), size=side, mode="bicubic").tanh()
    return StoredImages(to_uint8(x), torch.arange(count) % 3, torch.arange(count) * 5)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    found = load_generator(generator_run(folder / "gen", tokenizer_run(folder / "tok")))
    found.generator.double()  # a batch rounds as its rows do
    return found


def test_a_tokenizer_s_figures_get_better_with_its_codebook() -> None:
    samples = images(40, 16)
    reports = [measure_tokenizer(Cells(levels), samples, Pixels(1)) for levels in (2, 4, 32)]
    figures = [report.figures for report in reports]
    assert set(figures[0]) == {"psnr_db", "ssim", "bits_per_image", "code_usage", "code_perplexity", "rfid_pixels"}
    for name, sign in (("psnr_db", 1), ("ssim", 1), ("bits_per_image", 1), ("code_perplexity", 1), ("rfid_pixels", -1)):
        values = [sign * each[name] for each in figures]
        assert values == sorted(set(values)), name
    assert [each["bits_per_image"] for each in figures] == [64, 128, 320]
    assert figures[0]["code_usage"] == 1


class Vectors(Cells):
    """The same cells as they are, without a codebook."""

    def __init__(self) -> None:
        super().__init__(2)
        self.spec = TokenSpec("continuous", 1, (1, 8, 8))

    def encode(self, x: Tensor) -> Tokens:
        return Tokens(nn.functional.avg_pool2d(x, 2).flatten(1)[..., None], self.spec.grid)

    def decode(self, tokens: Tokens) -> Tensor:
        cells = rearrange(tokens.values, "b (h w) 1 -> b 1 h w", h=8)
        return cells.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_a_continuous_tokenizer_has_neither_bits_nor_codes() -> None:
    report = measure_tokenizer(Vectors(), images(40, 16), Pixels(1))
    assert set(report.figures) == {"psnr_db", "ssim", "rfid_pixels"}
    assert report.figures["psnr_db"] > measure_tokenizer(Cells(32), images(40, 16)).figures["psnr_db"]


class Same(Vectors):
    """Loses nothing."""

    def encode(self, x: Tensor) -> Tokens:
        return Tokens(rearrange(x, "b 1 (h r) (w c) -> b (h w) (r c)", r=2, c=2), self.spec.grid)

    def decode(self, tokens: Tokens) -> Tensor:
        return rearrange(tokens.values, "b (h w) (r c) -> b 1 (h r) (w c)", h=8, r=2)


def test_reconstructions_are_measured_as_the_bytes_that_would_be_saved() -> None:
    class Nearly(Same):
        def decode(self, tokens: Tokens) -> Tensor:
            return super().decode(tokens) * 0.999  # less than half a grey level away

    for tokenizer in (Same(), Nearly()):
        report = measure_tokenizer(tokenizer, images(10, 16), Pixels(1))
        assert math.isinf(report.figures["psnr_db"])
        assert report.figures["ssim"] == pytest.approx(1)
        assert report.figures["rfid_pixels"] == pytest.approx(0, abs=1e-9)
        assert torch.equal(report.pixels, images(10, 16).pixels)


def test_a_tokenizer_s_figures_do_not_depend_on_the_batch() -> None:
    samples, tokenizer = images(17, 16), Cells(4)
    done: list[float] = []
    whole = measure_tokenizer(tokenizer, samples, Pixels(1), batch=17)
    parts = measure_tokenizer(tokenizer, samples, Pixels(1), batch=5, progress=done.append)
    assert parts.figures == pytest.approx(whole.figures, rel=1e-5)
    assert torch.equal(parts.decoded, whole.decoded)
    assert done == [5, 10, 15, 17]
    expected = 10 * math.log10(4 / (whole.decoded - samples.take(torch.arange(17))["x"]).square().mean().item())
    assert whole.figures["psnr_db"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_s_figures_are_those_of_its_samples(loaded: Loaded, mode: str) -> None:
    judge, options = Mean(), SampleOptions(steps=2, guidance=Guidance(2.0))
    real = real_features(judge, images(12, 8), batch=5)
    report = measure_mode(loaded, mode, real, judge, num=10, options=options, seed=3, batch=4)
    names = {f"{name}_mean" for name in ("class_accuracy", "fd", "kid", "precision", "recall")}
    assert set(report.figures) == names | {"forward_passes", "tokens_per_forward", "seconds_per_sample"}
    assert report.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    again = sample_images(loaded, mode, report.labels, options, seed=3)  # by seed and number, whatever the batch
    assert torch.equal(report.sampled.images, again.images)
    assert report.judged is not None
    assert report.judged.tolist() == (judge.logits(again.images).argmax(1) == report.labels).tolist()
    assert report.figures["class_accuracy_mean"] == report.judged.double().mean().item()
    assert report.figures["forward_passes"] == again.forward_passes
    assert report.figures["seconds_per_sample"] == report.sampled.seconds / 10


def test_real_samples_score_perfectly_and_unlike_ones_badly(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sampler replaced by the data itself."""
    judge, samples = Mean(), images(30, 8)
    real, x = real_features(judge, samples), samples.take(torch.arange(30))["x"]
    sampled = sample_images(loaded, "ar", torch.zeros(1, dtype=torch.int64), SampleOptions())

    def figures(fakes: Tensor) -> dict[str, float]:
        monkeypatch.setattr(
            "mmgen.modalities.image.evaluation.measure.sample_images",
            lambda *_, **__: type(sampled)(sampled.tokens, fakes, 1, 1, 1.0),
        )
        return measure_mode(loaded, "ar", real, judge, num=30).figures

    same = figures(x)
    assert same["fd_mean"] == pytest.approx(0, abs=1e-6)
    assert (same["precision_mean"], same["recall_mean"]) == (1, 1)
    other = figures(x / 4 + 0.75)  # bright all over
    assert other["fd_mean"] > 0.1
    assert other["precision_mean"] < 0.5
    assert other["class_accuracy_mean"] == pytest.approx(1 / 3)
    right = figures(torch.tensor([-0.7, 0.0, 0.7])[torch.arange(30) % 3].view(30, 1, 1, 1).expand(30, 1, 8, 8))
    assert right["class_accuracy_mean"] == 1


def test_nobody_judges_classes_it_does_not_know(loaded: Loaded) -> None:
    class Mean2(Mean):
        classes = 2

    for extractor in (Mean2(), Pixels(1)):
        report = measure_mode(loaded, "masked", real_features(extractor, images(8, 8)), extractor, num=8)
        assert report.judged is None
        assert not any(name.startswith("class_accuracy") for name in report.figures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "maskd"}, "did you mean 'masked'"),
        ({"num": 3}, "at least 4 samples"),
        ({"num": 0}, "at least one sample"),
        ({"batch": 0}, "batch"),
    ],
)
def test_mistakes_are_told_before_anything_is_sampled(loaded: Loaded, changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"mode": "masked", "num": 8, "options": SampleOptions(decoding=Decoding()), "batch": 4}
    with pytest.raises(UserError, match=message):
        check_mode(loaded, **(arguments | changes))

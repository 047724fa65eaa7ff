import math
from typing import Any

import pytest
import torch
from einops import repeat
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.sources.stored import StoredImages
from mmgen.evaluation.command import ModeSampling
from mmgen.evaluation.extractors import Pixels, as_floats, real_features
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.measure import measure_mode, measure_tokenizer
from mmgen.modalities.image.sampling import sample_images
from mmgen.paradigms import Guidance, SampleOptions
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from mmgen.tokenizers import Tokenizer
from tests.tiny_runs import generator_run, tokenizer_run

MODES = ["ar", "masked", "block"]


class Cells(Tokenizer):
    """16 x 16 images to a token a cell of pixels: their mean, in so many grey levels, or as it is where there are none.
    What is decoded is dimmed.
    """

    def __init__(self, levels: int | None, cell: int = 2, dimmed: float = 1.0) -> None:
        super().__init__()
        self.levels, self.cell, self.dimmed = levels, cell, dimmed
        kind = ("continuous", 1) if levels is None else ("categorical", levels)
        self.spec = TokenSpec(kind[0], kind[1], (1, 16 // cell, 16 // cell))  # type: ignore[arg-type]
        self.sample_shape = (1, 16, 16)
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)))

    def encode(self, x: Tensor) -> Tokens:
        cells = nn.functional.avg_pool2d(x, self.cell).flatten(1)
        if self.levels is None:
            return Tokens(cells[..., None], self.spec.grid)
        return Tokens(((cells + 1) / 2 * (self.levels - 1)).round().long(), self.spec.grid)

    def decode(self, tokens: Tokens) -> Tensor:
        values = tokens.values[..., 0] if self.levels is None else tokens.values / (self.levels - 1) * 2 - 1
        pixels = repeat(values, "b (h w) -> b 1 (h r) (w c)", h=self.spec.grid[1], r=self.cell, c=self.cell)
        return self.dimmed * pixels

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
    run = load_generator(generator_run(folder / "gen", tokenizer_run(folder / "tok")))
    run.generator.double()  # a batch rounds as its rows do
    return run


def test_a_tokenizer_s_figures_get_better_with_its_codebook() -> None:
    samples = images(40, 16)
    reports = [measure_tokenizer(Cells(levels), samples, Pixels(1)) for levels in (2, 4, 32)]
    figures = [report.values for report in reports]
    assert set(figures[0]) == {"psnr_db", "ssim", "bits_per_image", "code_usage", "code_perplexity", "rfid_pixels"}
    for name, sign in (("psnr_db", 1), ("ssim", 1), ("bits_per_image", 1), ("code_perplexity", 1), ("rfid_pixels", -1)):
        values = [sign * each[name] for each in figures]
        assert values == sorted(set(values)), name
    assert [each["bits_per_image"] for each in figures] == [64, 128, 320]
    assert figures[0]["code_usage"] == 1


def test_a_continuous_tokenizer_has_neither_bits_nor_codes() -> None:
    report = measure_tokenizer(Cells(None), images(40, 16), Pixels(1))
    assert set(report.values) == {"psnr_db", "ssim", "rfid_pixels"}
    assert report.values["psnr_db"] > measure_tokenizer(Cells(32), images(40, 16)).values["psnr_db"]


@pytest.mark.parametrize("dimmed", [1, 0.999])  # by less than half a grey level
def test_reconstructions_are_measured_as_the_bytes_that_would_be_saved(dimmed: float) -> None:
    report = measure_tokenizer(Cells(None, cell=1, dimmed=dimmed), images(10, 16), Pixels(1))
    assert math.isinf(report.values["psnr_db"])
    assert report.values["ssim"] == pytest.approx(1)
    assert report.values["rfid_pixels"] == pytest.approx(0, abs=1e-9)
    assert torch.equal(report.samples, images(10, 16).values)


def test_a_tokenizer_s_figures_do_not_depend_on_the_batch() -> None:
    samples, tokenizer = images(17, 16), Cells(4)
    done: list[float] = []
    whole = measure_tokenizer(tokenizer, samples, Pixels(1), batch=17)
    parts = measure_tokenizer(tokenizer, samples, Pixels(1), batch=5, progress=done.append)
    assert parts.values == pytest.approx(whole.values, rel=1e-9)
    assert torch.equal(parts.samples, whole.samples)
    assert done == [5, 10, 15, 17]
    gaps = as_floats(whole.samples) - samples.take(torch.arange(17))["x"]
    assert whole.values["psnr_db"] == pytest.approx(10 * math.log10(4 / gaps.square().mean().item()), rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_s_figures_are_those_of_its_samples(loaded: Loaded, mode: str) -> None:
    judge, options = Mean(), SampleOptions(steps=2, guidance=Guidance(2.0))
    real = real_features(judge, images(12, 8), batch=5)
    report = measure_mode(ModeSampling(loaded, mode, options, seed=3, batch=4), real, judge, num=10)
    names = {f"{name}_mean" for name in ("class_accuracy", "fd", "kid", "precision", "recall")}
    assert set(report.values) == names | {"forward_passes", "tokens_per_forward", "seconds_per_sample"}
    labels = torch.arange(10) % 3
    task = SamplingTask(loaded, mode, {"class": labels}, options, seed=3)
    again = sample_images(task)  # by seed and number, whatever the batch
    assert torch.equal(report.samples.images, again.images) and report.steps == again.steps
    right = (judge.logits(again.images).argmax(1) == labels).double().mean().item()
    assert report.values["class_accuracy_mean"] == right
    assert report.values["forward_passes"] == again.forward_passes
    assert report.values["seconds_per_sample"] == report.samples.seconds / 10


def test_real_samples_score_perfectly_and_unlike_ones_badly(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sampler replaced by the data itself."""
    judge, samples = Mean(), images(30, 8)
    real, x = real_features(judge, samples), samples.take(torch.arange(30))["x"]
    sampled = sample_images(SamplingTask(loaded, "ar", {"class": torch.zeros(1, dtype=torch.int64)}))

    def figures(fakes: Tensor) -> dict[str, float]:
        monkeypatch.setattr(
            "mmgen.modalities.image.evaluation.measure.sample_images",
            lambda task: type(sampled)(sampled.tokens, sampled.lengths, 1, 1, 1.0, fakes),
        )
        return measure_mode(ModeSampling(loaded, "ar"), real, judge, num=30).values

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
        real = real_features(extractor, images(8, 8))
        report = measure_mode(ModeSampling(loaded, "masked"), real, extractor, num=8)
        assert not any(name.startswith("class_accuracy") for name in report.values)

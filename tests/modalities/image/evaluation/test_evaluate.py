"""`mmgen evaluate` from end to end, on runs that nobody trained."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.data.build import build_source
from mmgen.evaluation.card import faults
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation.extractors import IMAGE_EXTRACTORS
from mmgen.modalities.image.evaluation.npz import write_npz
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.sampling.options import SAMPLING
from mmgen.store.store import load_generator, load_tokenizer
from mmgen.tokenizers.quantizers import BSQ
from tests import tiny_runs
from tests.data_modules import data_section
from tests.evaluation.commands import evaluate, refuse, rows_of, timeless
from tests.tiny_runs import AR, generator_run, prefixed, scramble, write_run

pytestmark = pytest.mark.e2e

PIXELS = ["--extractor", "pixels", "--device", "cpu"]
QUICK = [*PIXELS, "--num", "12", "--steps", "2"]
ON_FEATURES = ["fid_pixels", "kid_pixels", "precision_pixels", "recall_pixels"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 28 x 28 digits and a generator of three modes, on fake data of 8 held-out digits."""
    folder = tmp_path_factory.mktemp("runs")
    data = data_section("Digits", global_batch_size=32, **Digits.make_fake(folder / "data", samples=40))
    described: dict[str, Any] = {"class_path": "mmgen.modalities.image.tokenizers.conv.ConvImageTokenizer"}
    described["init_args"] = tiny_runs.TOKENIZER["init_args"] | {"image_size": 28, "downsample": [7]}
    model = {"class_path": "mmgen.training.TokenizerModule", "init_args": {"tokenizer": described}}
    module = scramble(ConvImageTokenizer(**(described["init_args"] | {"quantizer": BSQ(4)})))
    write_run(folder / "tok", {"model": model, "data": data}, prefixed("tokenizer", module))
    generator_run(folder / "gen", folder / "tok", classes=10)
    config = yaml.safe_load((folder / "gen" / "config.yaml").read_text()) | {"data": data}
    (folder / "gen" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def held_out(runs: Path) -> dict[str, Any]:
    return build_source(yaml.safe_load((runs / "tok" / "config.yaml").read_text())).samples("val").take(torch.arange(8))


def test_a_tokenizer_s_figures_reach_its_card(
    runs: Path, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "metrics.json"
    evaluate(runs / "tok", "--extractor", "pixels", "--codecs", "--card", card, "--out", out)
    rows = rows_of(card)
    assert json.loads(out.read_text()) == rows
    names = ["rfid_pixels", "psnr_db", "ssim", "bits_per_image", "code_usage", "code_perplexity"]
    codecs = ["psnr_db_jpeg", "bits_per_image_jpeg", "psnr_db_webp", "bits_per_image_webp"]
    assert [row["metric"] for row in rows] == names + codecs
    figures = {row["metric"]: row["value"] for row in rows}
    assert figures["bits_per_image"] == load_tokenizer(runs / "tok").spec.bits_per_sample == 64
    assert all(figures[name] > 0 for name in codecs)
    for row in rows:
        assert (row["samples"], row["seed"], row["steps"], row["budget"]) == (8, None, None, "12 steps x 32 samples")
        assert row["data"] == f"digits folder={runs / 'data'} val"
        assert shlex.split(row["command"])[:3] == ["mmgen", "evaluate", str(runs / "tok")]
        assert ("mosaics" in row["protocol"].get("codecs", "")) == (row["metric"] in codecs)
    assert faults(card) == []
    assert "psnr_db" in capsys.readouterr().out


def test_all_modes_are_measured_and_a_re_run_replaces_its_rows(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [runs / "gen", *QUICK, "--cfg", "2", "--card", card]
    evaluate(*command)
    first = rows_of(card)
    names = [*ON_FEATURES, "forward_passes", "tokens_per_forward", "seconds_per_sample"]
    expected = [(mode, name) for mode in ("ar", "masked", "block") for name in names]
    assert [(row["mode"], row["metric"]) for row in first] == expected
    steps = {row["mode"]: row["steps"] for row in first}
    assert steps == {"ar": 16, "masked": 2, "block": 8}  # 16 tokens; two; two a block of four
    assert {row["settings"] for row in first} == {"cfg 2.0"}
    assert faults(card) == []
    assert main(shlex.split(first[0]["command"])[1:]) == 0  # the row's own command repeats it
    assert timeless(rows_of(card)) == timeless(first) and len(rows_of(card)) == len(first)
    evaluate(*command, "--mode", "masked", "--cfg_schedule", "linear")
    assert len(rows_of(card)) == len(first) + len(names)
    table = capsys.readouterr().out
    assert all(mode in table for mode in ("ar", "masked", "block"))


def test_figures_with_a_judge_need_no_option(
    runs: Path, card: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default extractor is the digits classifier; here a stand-in that nobody has to train."""

    class Ones:
        name, distance, num_features, classes, accuracy = "digits_cnn", "fid", 2, 10, 0.987
        protocol = {"resize": "none"}  # noqa: RUF012

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1)], dim=1)

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(10)[torch.ones(len(x), dtype=torch.int64)]

    monkeypatch.setitem(IMAGE_EXTRACTORS, "digits_cnn", lambda *_: Ones())
    evaluate(runs / "gen", "--mode", "masked", "--num", 20, "--card", card)
    figures = {row["metric"]: row for row in rows_of(card)}
    assert figures["class_accuracy_digits_cnn"]["value"] == 0.1  # all look like ones, and a tenth was asked to
    assert figures["fid_digits_cnn"]["protocol"]["extractor_accuracy"] == 0.987
    assert "digits_cnn, right about 98.7% of held-out" in capsys.readouterr().out


def test_an_adaptive_sampler_has_no_number_of_steps(runs: Path, card: Path) -> None:
    options = ["--mode", "masked", "--select", "threshold", "--threshold", "0.5", "--num", 12]
    evaluate(runs / "gen", *PIXELS, *options, "--card", card)
    rows = rows_of(card)
    assert {(row["steps"], row["settings"]) for row in rows} == {(None, "select threshold, threshold 0.5")}
    passes = next(row["value"] for row in rows if row["metric"] == "forward_passes")
    assert 1 <= passes <= 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gen --mode maskd", "did you mean 'masked'"),
        ("gen --mode ar --num 2", "at least 4 samples"),
        ("gen --extractor pixel", "did you mean 'pixels'"),
        ("gen --batch 0", "--batch 0 must be at least 1"),
        ("tok --cfg 2", "--cfg is for generators"),
        ("tok --likelihood", "--likelihood is for generators"),
        ("gen --codecs", "--codecs is for tokenizers"),
        ("gen --extractor inception", "name the file: --weights FILE"),
        ("gen --weights x.pth", "--weights is for --extractor inception"),
        ("gen --npz all.npz", "--npz holds the samples of one mode: choose --mode ar or masked or block"),
        ("gen --npz nowhere/all.npz", "folder of --npz nowhere/all.npz does not exist"),
        ("gen --reference none.npz", "none.npz does not exist"),
        ("gen --reference none.npz --data digits", "leave one out"),
        ("samples.npz", "name these by --data or --reference"),
        ("samples.npz --cfg 2", "--cfg is for runs"),
        ("tok --card nowhere", "card folder nowhere does not exist"),
        ("tok --out nowhere/metrics.json", "folder of --out nowhere/metrics.json does not exist"),
        ("tok --out config.yaml", "nothing is overwritten"),
    ],
)
def test_mistakes_end_in_one_line_before_any_work(
    runs: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in ("measure_mode", "measure_tokenizer", "real_features", "likelihood_rows", "compare"):
        monkeypatch.setattr(f"mmgen.modalities.image.evaluation.rows.{worker}", None)
    monkeypatch.chdir(runs / "tok")
    run, *options = arguments.split()
    refuse(capsys, message, runs / run, *options)


def test_a_card_that_cannot_take_figures_is_told_before_any_work(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmgen.modalities.image.evaluation.rows.measure_tokenizer", None)
    (card / "README.md").write_text("# Title\n<!-- /figures -->\n")
    refuse(capsys, "markers", runs / "tok", *PIXELS, "--card", card)
    (card / "README.md").unlink()
    (card / "results.json").write_text("[")
    refuse(capsys, "results.json is damaged", runs / "tok", *PIXELS, "--card", card)
    assert [path.name for path in card.iterdir()] == ["results.json"]


def test_every_figure_says_how_it_was_measured(runs: Path, card: Path) -> None:
    evaluate(runs / "gen", *QUICK, "--mode", "ar", "--seed", "3", "--card", card)
    evaluate(runs / "tok", *PIXELS, "--card", card)
    content = to_uint8(held_out(runs)["x"]).permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    reference = {
        "data": f"digits folder={runs / 'data'}",
        "split": "val",
        "count": 8,
        "sha256": hashlib.sha256(content).hexdigest()[:16],
    }
    for row in rows_of(card):
        protocol = row["protocol"]
        assert protocol["reference"] == reference
        assert (protocol["n"], protocol["seed"]) == ((12, 3) if row.get("mode") else (8, None))
        assert protocol["dtype"] == "float32 network, uint8 images"
        assert protocol["crop"] == "none"
        assert ("resize" in protocol) == ("extractor" in row)
    text = (card / "README.md").read_text()
    assert text.count(reference["sha256"]) == 2
    assert faults(card) == []


def test_samples_in_adm_s_form_give_the_same_figures_again(runs: Path, tmp_path: Path) -> None:
    """Also against a file of real images, which stands for the held-out ones of a tokenizer too."""
    samples, real, outs = tmp_path / "samples.npz", tmp_path / "real.npz", [tmp_path / f"{n}.json" for n in range(5)]
    evaluate(runs / "gen", *QUICK, "--mode", "masked", "--npz", samples, "--out", outs[0])
    evaluate(samples, "--data", runs / "gen", *PIXELS, "--out", outs[1])
    write_npz(real, to_uint8(held_out(runs)["x"]), held_out(runs)["label"])
    evaluate(samples, "--reference", real, *PIXELS, "--out", outs[2])
    evaluate(runs / "tok", *PIXELS, "--out", outs[3])
    evaluate(runs / "tok", *PIXELS, "--reference", real, "--out", outs[4])
    drawn, again, by_file, decoded, decoded_by_file = (json.loads(out.read_text()) for out in outs)

    def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
        return {row["metric"]: row["value"] for row in rows if "extractor" in row}

    assert list(figures(drawn)) == [row["metric"] for row in again] == ON_FEATURES
    assert figures(drawn) == figures(again) == figures(by_file)
    assert timeless(decoded) == timeless(decoded_by_file)
    assert {row["data"] for row in (*by_file, *decoded_by_file)} == {"real.npz"}
    hashes = {row["protocol"]["reference"]["sha256"] for row in (*drawn, *by_file, *decoded, *decoded_by_file)}
    assert len(hashes) == 1  # the same pixels, wherever they come from


def test_modes_with_a_likelihood_get_their_bits_on_one_scale(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(runs / "gen", *QUICK, "--likelihood", "--cfg", "2", "--card", card)
    rows = [row for row in rows_of(card) if row["metric"].startswith("bits_per")]
    modes = load_generator(runs / "gen").paradigm.modes()
    likely = {name for name, each in modes.items() if each.likelihood}
    assert {(row["mode"], row["metric"]) for row in rows} == {
        (mode, name) for mode in likely for name in ("bits_per_dim", "bits_per_image")
    }
    assert "ar" in likely
    for row in rows:
        assert row["protocol"]["standard_error"] > 0
        assert ("exact" in row["protocol"]["likelihood"]) == (row["mode"] == "ar")
        assert (row["samples"], row["steps"], row.get("settings")) == (8, None, None)
    values = {(row["mode"], row["metric"]): row["value"] for row in rows}
    assert values["ar", "bits_per_image"] / values["ar", "bits_per_dim"] == pytest.approx(28 * 28, rel=1e-4)
    assert faults(card) == []
    for mode in modes.keys() - likely:
        refuse(capsys, f"has none in mode {mode}", runs / "gen", *QUICK, "--likelihood", "--mode", mode)


def test_help_tells_every_option_with_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "sample"):
        assert main([command, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        options = [f"--{option} " for option in (*SAMPLING, "npz", "seed", "mode")]
        for part in (*options, "{none,cap,loop}", "guidance scale s in", "divides the logits", "default: 4.5"):
            assert part in text


def test_data_of_another_shape_is_refused_and_a_generator_of_one_mode_measured_in_it(
    runs: Path, tmp_path: Path, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tiny_runs.tokenizer_run(tmp_path / "small")
    refuse(capsys, "(1, 8, 8), and the data has (1, 28, 28)", small, "--data", "digits", "--extractor", "pixels")
    run = generator_run(tmp_path / "ar", runs / "tok", classes=0, paradigm=AR)
    evaluate(run, "--data", runs / "tok", *QUICK, "--card", card)
    assert {row["mode"] for row in rows_of(card)} == {"ar"}

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
from tests.tiny_runs import AR, MIXTURE, generator_run, prefixed, scramble, write_run

pytestmark = pytest.mark.e2e

QUICK = ["--extractor", "pixels", "--num", "12", "--steps", "2", "--device", "cpu"]


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


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "results.json").read_text())


def test_a_tokenizer_s_figures_reach_its_card(
    runs: Path, card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "metrics.json"
    assert main(["evaluate", str(runs / "tok"), "--extractor", "pixels", "--card", str(card), "--out", str(out)]) == 0
    rows = rows_of(card)
    assert json.loads(out.read_text()) == rows
    assert [row["metric"] for row in rows] == [
        "rfid_pixels",
        "psnr_db",
        "ssim",
        "bits_per_image",
        "code_usage",
        "code_perplexity",
    ]
    figures = {row["metric"]: row["value"] for row in rows}
    assert figures["bits_per_image"] == load_tokenizer(runs / "tok").spec.bits_per_sample == 64
    for row in rows:
        assert (row["samples"], row["seed"], row["steps"], row["budget"]) == (8, None, None, "12 steps x 32 samples")
        assert row["data"] == f"digits folder={runs / 'data'} val"
        assert shlex.split(row["command"])[:3] == ["mmgen", "evaluate", str(runs / "tok")]
    assert faults(card) == []
    assert "psnr_db" in capsys.readouterr().out


def test_all_modes_are_measured_and_a_re_run_replaces_its_rows(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(runs / "gen"), *QUICK, "--cfg", "2", "--card", str(card)]
    assert main(command) == 0
    first = rows_of(card)
    names = [
        "fid_pixels",
        "kid_pixels",
        "precision_pixels",
        "recall_pixels",
        "forward_passes",
        "tokens_per_forward",
        "seconds_per_sample",
    ]
    assert [(row["mode"], row["metric"]) for row in first] == [
        (mode, name) for mode in ("ar", "masked", "block") for name in names
    ]
    steps = {row["mode"]: row["steps"] for row in first}
    assert steps == {"ar": 16, "masked": 2, "block": 8}  # 16 tokens; two; two a block of four
    assert {row["settings"] for row in first} == {"cfg 2.0"}
    assert faults(card) == []
    command_again = shlex.split(first[0]["command"])  # the row's own command repeats it
    assert main(command_again[1:]) == 0
    timeless = [
        {name: value for name, value in row.items() if name != "seconds"} for row in first if row["metric"] != names[-1]
    ]
    again = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in rows_of(card)
        if row["metric"] != names[-1]
    ]
    assert again == timeless
    assert main([*command, "--mode", "masked", "--cfg_schedule", "linear"]) == 0
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

    monkeypatch.setitem(IMAGE_EXTRACTORS, "digits_cnn", lambda wanted: Ones())
    assert main(["evaluate", str(runs / "gen"), "--mode", "masked", "--num", "20", "--card", str(card)]) == 0
    figures = {row["metric"]: row["value"] for row in rows_of(card)}
    assert figures["class_accuracy_digits_cnn"] == 0.1  # all look like ones, and a tenth was asked to
    assert "fid_digits_cnn" in figures
    assert "digits_cnn, right about 98.7% of held-out" in capsys.readouterr().out


def test_an_adaptive_sampler_has_no_number_of_steps(runs: Path, card: Path) -> None:
    options = ["--mode", "masked", "--select", "threshold", "--threshold", "0.5"]
    assert main(["evaluate", str(runs / "gen"), *QUICK[:4], *options, "--card", str(card)]) == 0
    rows = rows_of(card)
    assert {(row["steps"], row["settings"]) for row in rows} == {(None, "select threshold, threshold 0.5")}
    passes = next(row["value"] for row in rows if row["metric"] == "forward_passes")
    assert 1 <= passes <= 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gen", "--mode", "maskd"], "did you mean 'masked'"),
        (["gen", "--mode", "ar", "--num", "2"], "at least 4 samples"),
        (["gen", "--temperature", "-1"], "temperature -1.0 must be at least 0"),
        (["gen", "--extractor", "pixel"], "did you mean 'pixels'"),
        (["gen", "--batch", "0"], "--batch must be at least 1"),
        (["gen", "--data", "digit"], "did you mean 'digits'"),
        (["tok", "--cfg", "2"], "--cfg is for generators"),
        (["tok", "--mode", "ar"], "--mode is for generators"),
        (["tok", "--likelihood"], "--likelihood is for generators"),
        (["gen", "--codecs"], "--codecs is for tokenizers"),
        (["gen", "--extractor", "inception"], "name the file: --weights FILE"),
        (["gen", "--weights", "x.pth"], "--weights is for --extractor inception"),
        (["gen", "--npz", "all.npz"], "--npz holds the samples of one mode: choose --mode ar or masked or block"),
        (["gen", "--npz", "nowhere/all.npz"], "folder of --npz nowhere/all.npz does not exist"),
        (["gen", "--reference", "none.npz"], "none.npz does not exist"),
        (["gen", "--reference", "none.npz", "--data", "digits"], "leave one out"),
        (["samples.npz"], "name these by --data or --reference"),
        (["samples.npz", "--cfg", "2"], "--cfg is for runs"),
        (["tok", "--card", "nowhere"], "card folder nowhere does not exist"),
        (["tok", "--out", "nowhere/metrics.json"], "folder of --out nowhere/metrics.json does not exist"),
        (["tok", "--out", "config.yaml"], "nothing is overwritten"),
        (["missing"], "does not exist"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_in_one_line_before_any_work(
    runs: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in ("measure_mode", "measure_tokenizer", "real_features", "likelihood_rows", "compare"):
        monkeypatch.setattr(f"mmgen.modalities.image.evaluation.rows.{worker}", None)
    monkeypatch.chdir(runs / "tok")
    assert main(["evaluate", str(runs / arguments[0]), *arguments[1:]]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("mmgen: error: ")
    assert message in printed
    assert printed.count("\n") == 1


def test_a_card_that_cannot_take_figures_is_told_before_any_work(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmgen.modalities.image.evaluation.rows.measure_tokenizer", None)
    (card / "README.md").write_text("# Title\n<!-- /figures -->\n")
    assert main(["evaluate", str(runs / "tok"), "--extractor", "pixels", "--card", str(card)]) == 2
    assert "markers" in capsys.readouterr().err
    (card / "README.md").unlink()
    (card / "results.json").write_text("[")
    assert main(["evaluate", str(runs / "tok"), "--extractor", "pixels", "--card", str(card)]) == 2
    assert "results.json is damaged" in capsys.readouterr().err
    assert [path.name for path in card.iterdir()] == ["results.json"]


def test_every_figure_says_how_it_was_measured(runs: Path, card: Path) -> None:
    assert main(["evaluate", str(runs / "gen"), *QUICK, "--mode", "ar", "--seed", "3", "--card", str(card)]) == 0
    assert main(["evaluate", str(runs / "tok"), *QUICK[:2], "--card", str(card)]) == 0
    rows = rows_of(card)
    held_out = build_source(yaml.safe_load((runs / "tok" / "config.yaml").read_text())).samples("val")
    bytes_ = to_uint8(held_out.take(torch.arange(8))["x"]).permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    reference = {
        "data": f"digits folder={runs / 'data'}",
        "split": "val",
        "count": 8,
        "sha256": hashlib.sha256(bytes_).hexdigest()[:16],
    }
    for row in rows:
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
    files = {name: str(tmp_path / name) for name in ("samples.npz", "real.npz", "a.json", "b.json", "c.json")}
    quick = [*QUICK[:2], "--device", "cpu"]
    drawn = ["evaluate", str(runs / "gen"), *QUICK, "--mode", "masked", "--npz", files["samples.npz"]]
    assert main([*drawn, "--out", files["a.json"]]) == 0
    assert main(["evaluate", files["samples.npz"], "--data", str(runs / "gen"), *quick, "--out", files["b.json"]]) == 0
    held_out = build_source(yaml.safe_load((runs / "tok" / "config.yaml").read_text())).samples("val")
    real = held_out.take(torch.arange(8))
    write_npz(files["real.npz"], to_uint8(real["x"]), real["label"])
    against = ["evaluate", files["samples.npz"], "--reference", files["real.npz"]]
    assert main([*against, *quick, "--out", files["c.json"]]) == 0
    first, again, by_file = (json.loads(Path(files[name]).read_text()) for name in ("a.json", "b.json", "c.json"))

    def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
        return {row["metric"]: row["value"] for row in rows if "extractor" in row}

    assert figures(first) == figures(again) == figures(by_file)
    assert {row["metric"] for row in again} == {"fid_pixels", "kid_pixels", "precision_pixels", "recall_pixels"}
    assert {row["data"] for row in by_file} == {"real.npz"}


def test_a_reference_file_stands_for_the_held_out_samples(runs: Path, tmp_path: Path) -> None:
    held_out = build_source(yaml.safe_load((runs / "tok" / "config.yaml").read_text())).samples("val")
    real = held_out.take(torch.arange(8))
    file, out = tmp_path / "real.npz", [tmp_path / name for name in ("a.json", "b.json")]
    write_npz(file, to_uint8(real["x"]), real["label"])
    assert main(["evaluate", str(runs / "tok"), *QUICK[:2], "--out", str(out[0])]) == 0
    assert main(["evaluate", str(runs / "tok"), *QUICK[:2], "--reference", str(file), "--out", str(out[1])]) == 0
    first, second = (json.loads(path.read_text()) for path in out)
    assert [(row["metric"], row["value"]) for row in first] == [(row["metric"], row["value"]) for row in second]
    hashes = {row["protocol"]["reference"]["sha256"] for row in (*first, *second)}
    assert len(hashes) == 1  # the same pixels, wherever they come from
    assert {row["data"] for row in second} == {"real.npz"}


def test_jpeg_and_webp_stand_beside_a_tokenizer(runs: Path, card: Path) -> None:
    assert main(["evaluate", str(runs / "tok"), *QUICK[:2], "--codecs", "--card", str(card)]) == 0
    rows = {row["metric"]: row for row in rows_of(card)}
    for codec in ("jpeg", "webp"):
        assert rows[f"psnr_db_{codec}"]["value"] > 0
        assert rows[f"bits_per_image_{codec}"]["value"] > 0
        assert "mosaics" in rows[f"psnr_db_{codec}"]["protocol"]["codecs"]
    assert "codecs" not in rows["psnr_db"]["protocol"]
    assert faults(card) == []


def test_modes_with_a_likelihood_get_their_bits_on_one_scale(runs: Path, card: Path) -> None:
    assert main(["evaluate", str(runs / "gen"), *QUICK, "--likelihood", "--cfg", "2", "--card", str(card)]) == 0
    rows = [row for row in rows_of(card) if row["metric"].startswith("bits_per")]
    likely = {name for name, each in load_generator(runs / "gen").paradigm.modes().items() if each.likelihood}
    assert {(row["mode"], row["metric"]) for row in rows} == {
        (mode, name) for mode in likely for name in ("bits_per_dim", "bits_per_image")
    }
    assert "ar" in likely
    for row in rows:
        assert row["protocol"]["standard_error"] > 0
        assert ("exact" in row["protocol"]["likelihood"]) == (row["mode"] == "ar")
        assert (row["samples"], row["steps"], row.get("settings")) == (8, None, None)
    found = {(row["mode"], row["metric"]): row["value"] for row in rows}
    assert found["ar", "bits_per_image"] / found["ar", "bits_per_dim"] == pytest.approx(28 * 28, rel=1e-4)
    assert faults(card) == []


def test_a_mode_without_a_likelihood_is_told(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unlikely = [name for name, each in load_generator(runs / "gen").paradigm.modes().items() if not each.likelihood]
    for mode in unlikely:
        assert main(["evaluate", str(runs / "gen"), *QUICK, "--likelihood", "--mode", mode]) == 2
        assert f"has none in mode {mode}" in capsys.readouterr().err


def test_help_tells_every_option_with_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "sample"):
        assert main([command, "--help"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        for option in (*SAMPLING, "npz", "seed", "mode"):
            assert f"--{option} " in told
        for part in ("{none,cap,loop}", "guidance scale s in", "divides the logits", "default: 4.5"):
            assert part in told


def test_data_of_another_shape_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tiny_runs.tokenizer_run(tmp_path / "small")
    assert main(["evaluate", str(small), "--data", "digits", "--extractor", "pixels"]) == 2
    assert "(1, 8, 8), and the data has (1, 28, 28)" in capsys.readouterr().err


def test_a_generator_that_knows_one_mode_is_measured_in_it(runs: Path, tmp_path: Path, card: Path) -> None:
    run = generator_run(tmp_path / "ar", runs / "tok", classes=0, paradigm=AR)
    assert main(["evaluate", str(run), "--data", str(runs / "tok"), *QUICK, "--card", str(card)]) == 0
    assert {row["mode"] for row in rows_of(card)} == set(MIXTURE["init_args"]["members"]) & {"ar"}

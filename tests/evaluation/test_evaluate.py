"""`mmgen evaluate` from end to end, on runs that nobody trained."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mmgen.cli.main import main
from mmgen.data.sources import DigitsSource
from mmgen.evaluation.card import faults
from mmgen.quantizers import BSQ
from mmgen.store import load_tokenizer
from mmgen.tokenizers import ConvImageTokenizer
from tests import tiny_runs
from tests.tiny_runs import AR, MIXTURE, generator_run, prefixed, scramble, write_run

pytestmark = pytest.mark.e2e

QUICK = ["--extractor", "pixels", "--num", "12", "--steps", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 28 x 28 digits and a generator of three modes, on fake data of 8 held-out digits."""
    folder = tmp_path_factory.mktemp("runs")
    data = {
        "class_path": "mmgen.data.Digits",
        "init_args": {"global_batch_size": 32, **DigitsSource.make_fake(folder / "data", samples=40)},
    }
    described: dict[str, Any] = {"class_path": "mmgen.tokenizers.ConvImageTokenizer"}
    described["init_args"] = tiny_runs.TOKENIZER["init_args"] | {"image_size": 28, "downsample": [7]}
    model = {"class_path": "mmgen.lit.TokenizerModule", "init_args": {"tokenizer": described}}
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
    names = ["fid_pixels", "kid_pixels", "precision_pixels", "recall_pixels", "forward_passes", "seconds_per_sample"]
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
        name, num_features, classes, accuracy = "digits_cnn", 2, 10, 0.987

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1)], dim=1)

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(10)[torch.ones(len(x), dtype=torch.int64)]

    monkeypatch.setitem(
        __import__("mmgen.evaluation.extractors", fromlist=["x"]).EXTRACTORS, "digits_cnn", lambda shape, cache: Ones()
    )
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
    for worker in ("measure_mode", "measure_tokenizer", "real_features"):
        monkeypatch.setattr(f"mmgen.evaluation.measure.{worker}", None)
    monkeypatch.chdir(runs / "tok")
    assert main(["evaluate", str(runs / arguments[0]), *arguments[1:]]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("mmgen: error: ")
    assert message in printed
    assert printed.count("\n") == 1


def test_a_card_that_cannot_take_figures_is_told_before_any_work(
    runs: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmgen.evaluation.measure.measure_tokenizer", None)
    (card / "README.md").write_text("# Title\n<!-- /figures -->\n")
    assert main(["evaluate", str(runs / "tok"), "--extractor", "pixels", "--card", str(card)]) == 2
    assert "markers" in capsys.readouterr().err
    (card / "README.md").unlink()
    (card / "results.json").write_text("[")
    assert main(["evaluate", str(runs / "tok"), "--extractor", "pixels", "--card", str(card)]) == 2
    assert "results.json is damaged" in capsys.readouterr().err
    assert [path.name for path in card.iterdir()] == ["results.json"]


def test_data_of_another_shape_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tiny_runs.tokenizer_run(tmp_path / "small")
    assert main(["evaluate", str(small), "--data", "digits", "--extractor", "pixels"]) == 2
    assert "(1, 8, 8), and the data has (1, 28, 28)" in capsys.readouterr().err


def test_a_generator_that_knows_one_mode_is_measured_in_it(runs: Path, tmp_path: Path, card: Path) -> None:
    run = generator_run(tmp_path / "ar", runs / "tok", classes=0, paradigm=AR)
    assert main(["evaluate", str(run), "--data", str(runs / "tok"), *QUICK, "--card", str(card)]) == 0
    assert {row["mode"] for row in rows_of(card)} == set(MIXTURE["init_args"]["members"]) & {"ar"}

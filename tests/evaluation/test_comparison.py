"""`mmgen evaluate RUN --compare_to OTHER`: the very losses of validation, of both generators, on the same tokens."""

import csv
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.evaluation.card import faults
from mmgen.evaluation.comparison import loss_metrics
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.motion.sources.mocap import Mocap
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.store.members import member_config
from mmgen.store.rebuild import build_tokenizer
from tests import tiny_runs
from tests.data_modules import data_section
from tests.evaluation.commands import evaluate, refuse, rows_of, timeless
from tests.motion_runs import motion_tokenizer_run
from tests.spoken_runs import RATE, codec_run
from tests.tiny_runs import prefixed, scramble, video_tokenizer_run, write_run
from tests.training.fits import fit

pytestmark = pytest.mark.e2e
pytest.importorskip("soundfile")

MEMBERS = ["image", "clip", "speech", "motion"]
MODES = ["ar", "masked"]
MOVING = {"clips": 6, "held_out": 4, "frames": 4, "digits": 1, "size": 32}
FIGURES = ["held_out_loss", "held_out_loss_beside", "held_out_loss_change"]


def mixture(**members: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": "Mixture", "init_args": {"members": members}}


BITS = mixture(ar={"class_path": "Autoregressive"}, masked={"class_path": "Masked", "init_args": {"steps": 3}})
CODES = mixture(
    ar={"class_path": "CodebookAutoregressive", "init_args": {"pattern": "delay", "ends": True}},
    masked={"class_path": "MaskedCodebooks", "init_args": {"steps": [2, 1]}},
)


def bits_run(folder: Path, seed: int = 0) -> Path:
    """A tokenizer of 28 x 28 digits."""
    described: dict[str, Any] = {"class_path": "mmgen.modalities.image.tokenizers.conv.ConvImageTokenizer"}
    described["init_args"] = tiny_runs.TOKENIZER["init_args"] | {"image_size": 28, "downsample": [7]}
    module = scramble(build_tokenizer({"tokenizer": described}, "tests"), seed)
    model = {"class_path": "mmgen.training.TokenizerModule", "init_args": {"tokenizer": described}}
    return write_run(folder, {"model": model}, prefixed("tokenizer", module))


FRAMES = {"text": {"class_path": "Characters", "init_args": {"reading": "frames"}}}


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, clips, speech whose texts are read and whose rows end, and motions that end, trained for two steps."""
    folder = tmp_path_factory.mktemp("joint")
    digits = Digits.make_fake(folder / "digits", 40)
    data: dict[str, tuple[str, dict[str, Any], Path]] = {
        "image": ("Digits", digits, bits_run(folder / "bits")),
        "clip": ("MovingDigits", digits | MOVING, video_tokenizer_run(folder / "frames")),
        "speech": (
            "SpeechFolder",
            SpeechFolder.make_fake(folder / "hums", 20) | {"sample_rate": RATE},
            codec_run(folder / "codec"),
        ),
        "motion": ("Mocap", Mocap.make_fake(folder / "clips", 12) | {"frames": 24}, motion_tokenizer_run(folder / "m")),
    }
    members: dict[str, dict[str, Any]] = {
        "image": {"paradigm": BITS},
        "clip": {"paradigm": BITS, "positions": "spatial"},
        "speech": {"paradigm": CODES, "positions": "none", "conditions": FRAMES},
        "motion": {"paradigm": CODES, "positions": "none"},
    }
    narrow = {"dim": 16, "depth": 1, "heads": 2, "rope": [2, 1, 1]}
    backbone = {"class_path": "Transformer", "init_args": narrow}
    sections = {
        name: data_section(kind, **options, tokenizer=str(tokenizer), global_batch_size=3)
        for name, (kind, options, tokenizer) in data.items()
    }
    recipe = {
        "model": {
            "class_path": "JointModule",
            "init_args": {"backbone": backbone, "members": members, "optimizer": {"lr": 0.01}},
        },
        "data": {"class_path": "JointData", "init_args": {"members": sections}},
        "trainer": {"max_steps": 2, "val_check_interval": 2},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return fit(folder / "run", f"--config={folder / 'recipe.yaml'}", "--trainer.logger=true")


def compare(run: Path, other: Path, card: Path, *options: str) -> dict[tuple[str, str], float]:
    """(Metric, mode) -> value."""
    evaluate(run, "--compare_to", other, "--card", card, "--device=cpu", *options)
    rows = [row for row in rows_of(card) if row["settings"] == f"compared to {other}"]
    return {(row["metric"], row["mode"]): row["value"] for row in rows}


def logged(run: Path) -> dict[str, float]:
    """The losses of the last validation."""
    (file,) = (run / "logs" / "csv").glob("*/metrics.csv")
    with file.open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["val/loss"]]
    return {name: float(value) for name, value in rows[-1].items() if name.startswith("val/")}


def copied(joint: Path, name: str, folder: Path) -> Path:
    """A member as a run of its own that mmgen fit might have left."""
    checkpoint = torch.load(joint / "checkpoints" / "last.ckpt", weights_only=True)
    prefix = f"members.{name}."
    state = {
        key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
    }
    config = member_config(yaml.safe_load((joint / "config.yaml").read_text()), name)
    return write_run(folder, config, state, mmgen=checkpoint["mmgen"]["members"][name])


@pytest.mark.parametrize("name", MEMBERS)
def test_a_run_beside_itself_has_the_losses_that_training_logged(joint: Path, name: str, card: Path) -> None:
    """Of every modality, whatever the batch."""
    losses = compare(joint / name, joint / name, card, "--batch=5")
    assert list(losses) == [(figure, mode) for mode in MODES for figure in FIGURES]
    for mode in MODES:
        loss, others_loss, change = (losses[figure, mode] for figure in FIGURES)
        assert loss == others_loss == pytest.approx(logged(joint)[f"val/{name}/{mode}"], abs=1e-5)
        assert change == 0.0
    assert faults(card) == []


def test_a_member_and_the_same_weights_alone_have_the_same_losses(joint: Path, tmp_path: Path, card: Path) -> None:
    other = copied(joint, "speech", tmp_path / "speech")
    losses = compare(joint / "speech", other, card, "--mode=masked")
    assert list(losses) == [(figure, "masked") for figure in FIGURES]
    assert losses["held_out_loss_change", "masked"] == 0.0


def worse(run: Path) -> Path:
    """The same run with a head that is surer of everything."""
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    for key, value in checkpoint["state_dict"].items():
        if ".head." in key:
            value.mul_(2.0).add_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    torch.save(checkpoint, file)
    return run


def test_a_change_is_that_of_the_means_and_is_told_with_its_error(
    joint: Path, tmp_path: Path, card: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the command in the row repeats it."""
    other = worse(copied(joint, "motion", tmp_path / "motion"))
    one, two = compare(joint / "motion", other, card), compare(other, joint / "motion", card)
    for mode in MODES:
        loss, others_loss, change = (one[figure, mode] for figure in FIGURES)
        assert abs(change) > 1e-3
        assert change == pytest.approx(loss / others_loss - 1, abs=1e-5)
        assert two["held_out_loss", mode] == others_loss
        assert two["held_out_loss_beside", mode] == loss
    assert f"{joint / 'motion'} took 2 steps, {other} 12" in capsys.readouterr().out
    before = rows_of(card)
    rows = {(row["metric"], row["mode"], row["settings"]): row for row in before}
    row = rows["held_out_loss_change", "ar", f"compared to {other}"]
    assert row["protocol"]["standard_error"] > 0
    assert row["protocol"]["compared_to"] == "trained for 12 steps x 3 samples"
    assert row["budget"] == "2 steps x 3 samples"
    assert main(shlex.split(row["command"].removeprefix("mmgen "))) == 0
    assert timeless(rows_of(card)) == timeless(before)
    text = (card / "README.md").read_text()
    assert "| `held_out_loss` ↓ | `held_out_loss_beside` | `held_out_loss_change` ↓ |" in text
    assert f"| compared to {other} |" in text
    assert faults(card) == []


def test_the_error_of_a_change_is_that_of_a_ratio() -> None:
    """Against many draws of as many samples."""
    draw = torch.Generator().manual_seed(0)
    both = 2 + torch.rand(4000, 50, dtype=torch.float64, generator=draw)
    own = 1.1 * both + 0.1 * torch.rand(4000, 50, dtype=torch.float64, generator=draw)
    changes = own.mean(1) / both.mean(1) - 1
    errors = [loss_metrics(mine, others)[2].protocol["standard_error"] for mine, others in zip(own[:40], both[:40])]
    assert sum(errors) / len(errors) == pytest.approx(changes.std().item(), rel=0.1)
    assert math.isclose(loss_metrics(own[0], both[0])[2].value, changes[0].item())


def changed(run: Path, **sections: Any) -> Path:
    """The same run with other arguments in its config."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    for section, arguments in sections.items():
        config[section]["init_args"] |= arguments
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def digits(folder: Path, count: int) -> dict[str, Any]:
    """Other digits, as arguments of the data."""
    return {"source": Digits(**Digits.make_fake(folder, count)).describe()}


def test_losses_that_do_not_compare_are_refused(
    joint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def other(name: str = "image") -> Path:
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        return copied(joint, name, tmp_path / "other")

    def refuses(message: str, run: Path) -> None:
        refuse(capsys, message, joint / "image", "--compare_to", run, "--device=cpu")

    refuses("are not of the same tokens", joint / "clip")
    retrained = other()
    checkpoint = torch.load(retrained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["mmgen"] |= {"tokenizer_path": str(bits_run(tmp_path / "bits", seed=1)), "tokenizer_hash": None}
    torch.save(checkpoint, retrained / "checkpoints" / "last.ckpt")
    refuses("different tokenizers", retrained)
    refuses("different held-out samples", changed(other(), data=digits(tmp_path / "few", 30)))
    linear = {"class_path": "mmgen.paradigms.Masked", "init_args": {"schedule": "linear"}}
    rule = changed(other(), model={"paradigm": mixture(ar={"class_path": "Autoregressive"}, masked=linear)})
    refuses("mode 'masked'", rule)
    evaluate(joint / "image", "--compare_to", rule, "--mode=ar", "--device=cpu")
    refuses("no mode in common: ar, masked and guess", changed(other(), model={"paradigm": mixture(guess=linear)}))


def test_the_same_samples_by_another_name_are_accepted(joint: Path, tmp_path: Path, card: Path) -> None:
    other = changed(copied(joint, "image", tmp_path / "o"), data=digits(tmp_path / "digits", 40))
    assert compare(joint / "image", other, card)["held_out_loss_change", "ar"] == 0.0


def test_options_of_other_kinds_are_refused(joint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, tokenizer = joint / "image", joint.parent / "bits"
    for option in ("--cfg=2", "--num=3", "--seed=1", "--npz=x.npz", "--likelihood", "--context=2", "--wer", "--data=x"):
        refuse(capsys, f"{option.partition('=')[0]} is for what is sampled", image, "--compare_to", image, option)
    refuse(capsys, "is a tokenizer, but a generator is needed", image, "--compare_to", tokenizer)
    refuse(capsys, "--compare_to is for generators", tokenizer, "--compare_to", image)
    refuse(capsys, "--compare_to is for runs", "x.npz", "--compare_to", image)
    refuse(capsys, "name one of", joint, "--compare_to", image)

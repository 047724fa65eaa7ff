import json
import re
import shlex
from html import unescape
from pathlib import Path

import pytest
import torch

from mmgen.apps.cli import fit
from mmgen.apps.cli.main import main
from mmgen.apps.demo.image import demo as images
from mmgen.apps.demo.image.demo import ImageDemo
from mmgen.apps.demo.image.settings import ImageSettings
from mmgen.media.images import read_image
from mmgen.modalities.image.evaluation.classifier import Classifier, Recipe
from mmgen.modalities.image.page.pictures import TIMES
from mmgen.modalities.image.sources.digits import Digits
from mmgen.page.tiles import picture, pixels, sheet

STEPS = {"ar": 49, "masked": 3, "block": 28}


def judge() -> Classifier:
    """Untrained, so that it costs nothing."""
    made = Classifier(Recipe()).eval().requires_grad_(False)
    made.accuracy = 0.1
    return made


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over a hundred noise images, with models of a few numbers and a few steps."""
    monkeypatch.chdir(tmp_path)
    folder = Digits.make_fake(tmp_path / "digits", 100)["folder"]
    common = (
        "--trainer.limit_val_batches=1",
        "--samples.count=0",
        "--model.lr_scheduler.warmup_steps=0",
        "--trainer.max_steps=4",
    )
    tiny = ImageSettings(
        tokenizer_options=(f"--data.source.folder={folder}", "--model.tokenizer.width=8", *common),
        generator_options=("--model.backbone.dim=32", "--model.backbone.depth=1", "--model.backbone.heads=2", *common),
        sampling={"masked": {"steps": 3, "cfg": 2.0}},
        samples=(20,),
        rows=1,
        timed_steps=2,
        timed_samples=10,
        completed={"0": True, "5": False},
        completions=2,
    )
    monkeypatch.setattr(ImageDemo, "settings_class", lambda: tiny)
    monkeypatch.setattr(images, "digits_classifier", judge)
    monkeypatch.delenv("MMGEN_DEMO_STARTED", raising=False)


@pytest.mark.e2e
@pytest.mark.usefixtures("small")
def test_an_interrupted_demo_goes_on_and_ends_in_a_page_whose_commands_repeat_its_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ImageDemo, "find", interrupt)
        assert main(["demo"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command goes on with runs/demo where it stopped\n")
    with monkeypatch.context() as patched:
        patched.setattr(fit, "run", interrupt)  # all training is done
        assert main(["demo"]) == 0
    assert capsys.readouterr().out.count("kept from the interrupted demo") == 4

    metrics = json.loads(Path("runs/demo/metrics.json").read_text())
    assert metrics["total_seconds"] > 1
    assert metrics["reconstruction"]["psnr_db"] > 0
    assert metrics["reconstruction"]["bits_per_image"] == 392
    assert metrics["classifier"]["accuracy"] == 0.1
    assert set(metrics["modes"]) == set(STEPS)
    for mode, steps in STEPS.items():
        each = metrics["modes"][mode]
        assert {"class_accuracy", "fid", "seconds_per_sample"} <= set(each)
        assert each["steps"] == each["forward_passes"] == steps

    page = Path("runs/demo/index.html").read_text()
    commands = [
        unescape(re.sub("<[^>]*>", "", each)) for each in re.findall("<code>(mmgen.*?|<span>mmgen.*?)</code>", page)
    ]
    shown = sampled(next(each for each in commands if " sample " in each and "--mode masked" in each), "again")
    wrong = judge().logits(shown).argmax(1) != torch.arange(len(shown)) % 10
    assert picture(sheet(pixels(shown, TIMES), 10, marked=wrong), "").uri in page
    completed = sampled(next(each for each in commands if "--inpaint " in each and "--mode block" in each), "completed")
    assert picture(sheet(pixels(completed, TIMES), 2), "").uri in page


def sampled(command: str, out: str) -> torch.Tensor:
    """(B, 1, 28, 28), what a command of the page draws."""
    assert main([*shlex.split(command)[1:], "--out", out]) == 0
    files = sorted(file for file in Path(out).glob("*.png") if file.stem.isdigit())
    return torch.stack([read_image(file, (1, 28, 28)) for file in files])


def test_a_mistake_is_told_in_one_line_and_nothing_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "mine" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    for words, told in (
        (["--out", str(kept.parent)], "is not empty, and nothing is overwritten"),
        (["--out", str(kept)], "is a file, and a folder is needed"),
        (["--minutes", "0"], "must be more than 0"),
        (["--what", "smell"], "smell"),
    ):
        assert main(["demo", *words]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert kept.read_text() == "years of work"

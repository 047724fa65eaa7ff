import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmgen.apps.cli import fit
from mmgen.apps.cli.main import main
from mmgen.apps.demo.video.demo import VideoDemo
from mmgen.apps.demo.video.findings import VideoFindings
from mmgen.apps.demo.video.settings import VideoSettings
from mmgen.modalities.image.sources.digits import Digits

TRANSFORMER = "{class_path: Transformer, init_args: {dim: 32, depth: 1, heads: 2, modulation: %s, rope: [1, 1, 1]}}"
COMMON = """
seed_everything: 0
trainer: {max_steps: 4, val_check_interval: 2, limit_val_batches: 1}
samples: {count: 0}
"""
TOKENIZER = f"""{COMMON}
model:
  class_path: TokenizerModule
  init_args:
    tokenizer:
      class_path: VideoViTTokenizer
      init_args:
        image_size: 32
        channels: 1
        frames: 6
        patch: 8
        encoder: {TRANSFORMER % "none"}
        decoder: {TRANSFORMER % "none"}
        quantizer: {{class_path: BSQ, init_args: {{bits: 4}}}}
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data:
  class_path: DataModule
  init_args:
    source: {{class_path: MovingDigits, init_args: {{frames: 4, size: 32, clips: 24, held_out: 8, folder: FOLDER}}}}
    global_batch_size: 4
"""
GENERATOR = f"""{COMMON}
model:
  class_path: GeneratorModule
  init_args:
    backbone: {TRANSFORMER % "adaln"}
    paradigm: {{class_path: BlockDiffusion, init_args: {{split: frame, window: 3, steps: 2}}}}
    positions: spatial
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data:
  class_path: DataModule
  init_args:
    source: {{class_path: MovingDigits, init_args: {{frames: 6, size: 32, folder: FOLDER}}}}
    global_batch_size: 4
    tokenizer: runs/another
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over noise that moves, with models of a few numbers and a few steps."""
    monkeypatch.chdir(tmp_path)
    folder = Digits.make_fake(tmp_path / "digits", 60)["folder"]
    for name, recipe in (("tokenizer", TOKENIZER), ("generator", GENERATOR)):
        (tmp_path / f"{name}.yaml").write_text(recipe.replace("FOLDER", str(folder)))
    tiny = VideoSettings(
        tokenizer=str(tmp_path / "tokenizer.yaml"),
        generator=str(tmp_path / "generator.yaml"),
        tokenizer_options=(),
        data_options={"clips": 20, "held_out": 8},
        sampling={"block": {"temperature": 0.9}},
        samples=(4,),
        timed_steps=2,
        timed_samples=2,
        kept=3,
        context=2,
        shown=2,
        times=2,
        rollouts=3,
        rolled=1,
        chosen=("0 1", "3 3"),
        drawn=2,
    )
    monkeypatch.setattr(VideoDemo, "settings_class", lambda: tiny)
    monkeypatch.delenv("MMGEN_DEMO_STARTED", raising=False)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[VideoFindings]:
    """What the demo found, when it has run."""
    kept: list[VideoFindings] = []
    find = VideoDemo.find

    def remembered(self: VideoDemo, *args: Any) -> VideoFindings:
        kept.append(find(self, *args))
        return kept[-1]

    monkeypatch.setattr(VideoDemo, "find", remembered)
    return kept


@pytest.mark.e2e
@pytest.mark.usefixtures("small")
def test_an_interrupted_demo_goes_on_and_its_commands_repeat_its_clips_and_its_figures(
    found: list[VideoFindings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(VideoDemo, "find", interrupt)
        assert main(["demo", "video"]) == 130
    assert "the same command goes on with runs/demo-video where it stopped" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(fit, "run", interrupt)  # all training is done
        assert main(["demo", "video"]) == 0
    assert capsys.readouterr().out.count("kept from the interrupted demo") == 4

    metrics = json.loads(Path("runs/demo-video/metrics.json").read_text())
    assert metrics["reconstruction"]["samples"] == 3
    assert metrics["reconstruction"]["bits_per_frame"] == 4 * 4 * 4
    made = metrics["modes"]["block"]
    assert (made["prediction"]["frames"], made["rollout"]["frames"]) == (6, 12)
    assert (made["prediction"]["samples"], made["rollout"]["samples"]) == (4, 3)

    page = Path("runs/demo-video/index.html").read_text()
    commands = [
        unescape(re.sub("<[^>]*>", "", each)) for each in re.findall("<code>(mmgen.*?|<span>mmgen.*?)</code>", page)
    ]
    (mode,) = found[0].found
    for clips, told in ((mode.shown, "--context held_out"), (mode.rolled, "--frames 12"), (mode.drawn, "--class")):
        line = next(each for each in commands if " sample " in each and told in each)
        assert torch.equal(tokens_of(line, told), clips.tokens)
    assert any(" tokenize " in each and each.endswith("--data runs/demo-video/data.yaml") for each in commands)
    line = next(each for each in commands if " evaluate " in each and "/tokenizer" in each)
    assert main([*shlex.split(line)[1:], "--out", "kept.json"]) == 0
    kept = {row["metric"]: row["value"] for row in json.loads(Path("kept.json").read_text())}
    assert metrics["reconstruction"]["psnr_db"] == pytest.approx(kept["psnr_db"], rel=1e-4)
    for name, told in (("prediction", "--num 4"), ("rollout", "--rollout 2")):
        line = next(each for each in commands if " evaluate " in each and told in each)
        assert line == made[name]["command"]
        assert main([*shlex.split(line)[1:], "--out", f"{name}.json"]) == 0
        for row in json.loads(Path(f"{name}.json").read_text()):
            if row["metric"] != "seconds_per_sample":
                assert made[name][row["metric"]] == pytest.approx(row["value"], rel=1e-4)


def tokens_of(command: str, out: str) -> torch.Tensor:
    """What a command of the page draws."""
    folder = re.sub(r"\W", "", out)
    assert main([*shlex.split(command)[1:], "--out", folder]) == 0
    return load_file(Path(folder) / "samples.safetensors")["tokens"]

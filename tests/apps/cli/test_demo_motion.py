import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmgen.apps.cli import fit
from mmgen.apps.cli.main import main
from mmgen.apps.demo.motion import demo as motions
from mmgen.apps.demo.motion.demo import MotionDemo
from mmgen.apps.demo.motion.findings import MotionFindings
from mmgen.apps.demo.motion.settings import MotionSettings
from mmgen.apps.demo.settings import Settings
from mmgen.data.sources import Source
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier
from mmgen.modalities.motion.evaluation.judges import Judges
from mmgen.modalities.motion.evaluation.network import Recipe, statistics
from mmgen.modalities.motion.sources.mocap import Mocap

pytest.importorskip("av")  # of the command that the page's motions are repeated with

COMMON = """
seed_everything: 0
trainer: {max_steps: 4, val_check_interval: 2, limit_val_batches: 1}
samples: {count: 0}
"""
SOURCE = "{class_path: Mocap, init_args: {folder: FOLDER, frames: 16, clips: 24}}"
TOKENIZER = f"""{COMMON}
model:
  class_path: TokenizerModule
  init_args:
    tokenizer:
      class_path: MotionTokenizer
      init_args: {{quantizer: QUANTIZER, frames: 16, width: 8, dilations: [3, 1], causal: true}}
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data: {{class_path: DataModule, init_args: {{source: {SOURCE}, global_batch_size: 4}}}}
"""
GENERATOR = f"""{COMMON}
model:
  class_path: GeneratorModule
  init_args:
    backbone: {{class_path: Transformer, init_args: {{dim: 16, depth: 1, heads: 2, rope: [1, 1, 1]}}}}
    paradigm: PARADIGM
    positions: none
    ends: ENDS
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data: {{class_path: DataModule, init_args: {{source: {SOURCE}, global_batch_size: 4, tokenizer: runs/another}}}}
"""
CODES = "{class_path: ResidualVQ, init_args: {codes: 8, dim: 4, levels: 2}}"
NUMBERS = "{class_path: Gaussian, init_args: {dim: 4}}"
MIXTURE = (
    "{class_path: Mixture, init_args: {members: {ar: {class_path: CodebookAutoregressive}, "
    "masked: {class_path: MaskedCodebooks, init_args: {steps: [2, 1]}}}}}"
)
FLOW = (
    "{class_path: ContinuousBlockDiffusion, init_args: {split: 2, steps: 2,"
    " process: {class_path: mmgen.paradigms.Flow}}}"
)
MODES = ["ar", "masked", "block"]


class Untrained(Judges):
    """A classifier that costs nothing."""

    @classmethod
    def of(cls, source: Source) -> Judges:
        classifier = MotionClassifier(Recipe(), *statistics(source), source.classes)
        classifier.accuracy = 0.25
        return Judges(classifier.eval().requires_grad_(False), None)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over people who sway and bow, with models of a few numbers and a few steps."""
    monkeypatch.chdir(tmp_path)
    folder = Mocap.make_fake(tmp_path / "people")["folder"]
    recipes = {
        "codes": TOKENIZER.replace("QUANTIZER", CODES),
        "numbers": TOKENIZER.replace("QUANTIZER", NUMBERS),
        "mixture": GENERATOR.replace("PARADIGM", MIXTURE).replace("ENDS", "true"),
        "flow": GENERATOR.replace("PARADIGM", FLOW).replace("ENDS", "false"),
    }
    for name, recipe in recipes.items():
        (tmp_path / f"{name}.yaml").write_text(recipe.replace("FOLDER", folder))
    own: dict[str, Any] = {"data_options": {"clips": 20}, "samples": (6,), "timed_steps": 2, "timed_samples": 2}
    tiny = MotionSettings(
        tokenizer=str(tmp_path / "codes.yaml"),
        generator=str(tmp_path / "mixture.yaml"),
        tokenizer_options=(),
        sampling={"ar": {"temperature": 0.9}},
        second=Settings(tokenizer=str(tmp_path / "numbers.yaml"), generator=str(tmp_path / "flow.yaml"), **own),
        kept=2,
        known=4,
        filled=1,
        **own,
    )
    monkeypatch.setattr(MotionDemo, "settings_class", lambda: tiny)
    monkeypatch.setattr(motions, "Judges", Untrained)
    monkeypatch.delenv("MMGEN_DEMO_STARTED", raising=False)


@pytest.mark.e2e
@pytest.mark.usefixtures("small")
def test_an_interrupted_demo_goes_on_and_its_commands_repeat_its_motions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[MotionFindings] = []
    find = MotionDemo.find

    def remembered(self: MotionDemo, *args: Any) -> MotionFindings:
        found.append(find(self, *args))
        return found[-1]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MotionDemo, "find", interrupt)
        assert main(["demo", "motion"]) == 130
    assert "the same command goes on with runs/demo-motion where it stopped" in capsys.readouterr().err
    monkeypatch.setattr(MotionDemo, "find", remembered)
    with monkeypatch.context() as patched:
        patched.setattr(fit, "run", interrupt)  # all training is done
        assert main(["demo", "motion"]) == 0
    assert capsys.readouterr().out.count("kept from the interrupted demo") == 7

    metrics = json.loads(Path("runs/demo-motion/metrics.json").read_text())
    assert list(metrics["modes"]) == MODES
    assert set(metrics["tokenizers"]) == {"residual codes", "continuous tokens"}
    assert all(each["mpjpe_mm"] > 0 for each in metrics["tokenizers"].values())
    for each in metrics["modes"].values():
        assert each["samples"] == 6 and 0 <= each["label_accuracy_motion_cnn"] <= 1
        assert each["forward_passes"] > 0 and each["trained_steps"] == 4
    assert 0 <= metrics["real"]["label_accuracy_real_motion_cnn"] <= 1
    for each in metrics["inbetween"].values():
        assert each["inbetween_linear_mm"] > 0 and each["inbetween_mm"]["masked"] > 0

    page = Path("runs/demo-motion/index.html").read_text()
    assert page.count("<canvas") == 2 * 4 + 2 * 3 + 3 * len(metrics["inbetween"])
    commands = [
        unescape(re.sub("<[^>]*>", "", each)) for each in re.findall("<code>(mmgen.*?|<span>mmgen.*?)</code>", page)
    ]
    shown = {each.mode: each.shown for line in found[0].lines for each in line.modes}
    for mode, count in (("ar", 2), ("masked", 1), ("block", 1)):
        line = next(each for each in commands if " sample " in each and f"--mode {mode}" in each)
        assert main([*shlex.split(line)[1:], "--out", mode]) == 0
        again = [torch.from_numpy(np.load(file)) for file in sorted(Path(mode).glob("*.npy"))]
        assert len(again) == count
        for one, other in zip(again, shown[mode]):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    lengths = [len(each) for each in found[0].recorded]
    assert [len(each) for each in shown["masked"]] == [len(each) for each in shown["block"]] == lengths

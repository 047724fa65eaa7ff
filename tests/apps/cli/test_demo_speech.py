import json
import re
import shlex
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmgen.apps.cli import fit
from mmgen.apps.cli.main import main
from mmgen.apps.demo.settings import Settings
from mmgen.apps.demo.speech import demo as speech
from mmgen.apps.demo.speech import edits
from mmgen.apps.demo.speech.demo import SpeechDemo
from mmgen.apps.demo.speech.findings import SpeechFindings
from mmgen.apps.demo.speech.settings import SpeechSettings
from mmgen.core.errors import UserError
from mmgen.modalities.speech import editing as library
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder

pytest.importorskip("soundfile")

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
      class_path: SEANetCodec
      init_args:
        quantizer: QUANTIZER
        sample_rate: 1600
        seconds: 0.5
        ratios: [8, 5]
        channels: 2
        width: 8
        blocks: 1
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data:
  class_path: DataModule
  init_args:
    source:
      class_path: SpeechFolder
      init_args: {{root: ROOT, seconds: 1.0, sample_rate: 1600, crop: 0.5, held_out: 3}}
    global_batch_size: 4
"""
GENERATOR = f"""{COMMON}
model:
  class_path: GeneratorModule
  init_args:
    backbone: {{class_path: Transformer, init_args: {{dim: 16, depth: 1, heads: 2, rope: [1, 1, 1]}}}}
    paradigm: PARADIGM
    positions: none
    sentinels: 1
    optimizer: {{lr: 1.0e-3}}
    lr_scheduler: {{warmup_steps: 0}}
data:
  class_path: DataModule
  init_args:
    source: {{class_path: SpeechFolder, init_args: {{root: ROOT, seconds: 1.0, sample_rate: 1600, held_out: 3}}}}
    global_batch_size: 4
    tokenizer: runs/another
"""
CODES = "{class_path: ResidualVQ, init_args: {codes: 8, dim: 4, levels: 2}}"
NUMBERS = "{class_path: Gaussian, init_args: {dim: 4}}"
MIXTURE = (
    "{class_path: Mixture, init_args: {members: {"
    "ar: {class_path: CodebookAutoregressive}, "
    "masked: {class_path: MaskedCodebooks, init_args: {steps: [2, 1]}}, "
    "infill: {class_path: SpanInfill, init_args: {most: 1}}}}}"
)
FLOW = (
    "{class_path: ContinuousBlockDiffusion, init_args: {split: 8, steps: 2,"
    " process: {class_path: mmgen.paradigms.Flow}}}"
)
MODES = ["ar", "masked", "block"]


class Hearsay:
    """A recogniser that always hears the same."""

    name, protocol = "hearsay", {"recogniser": "none"}

    def transcribe(self, sounds: Sequence[Tensor], sample_rate: int) -> list[str]:
        return ["hum aaa"] * len(sounds)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo over hums, with models of a few numbers and a few steps."""
    monkeypatch.chdir(tmp_path)
    root = SpeechFolder.make_fake(tmp_path / "hums", 16)["root"]
    recipes = {
        "codes": TOKENIZER.replace("QUANTIZER", CODES),
        "numbers": TOKENIZER.replace("QUANTIZER", NUMBERS),
        "mixture": GENERATOR.replace("PARADIGM", MIXTURE),
        "flow": GENERATOR.replace("PARADIGM", FLOW),
    }
    for name, recipe in recipes.items():
        (tmp_path / f"{name}.yaml").write_text(recipe.replace("ROOT", root))
    own: dict[str, Any] = {"data_options": {}, "samples": (3,), "timed_steps": 2, "timed_samples": 2}
    tiny = SpeechSettings(
        tokenizer=str(tmp_path / "codes.yaml"),
        generator=str(tmp_path / "mixture.yaml"),
        sampling={"ar": {"temperature": 0.9}},
        second=Settings(tokenizer=str(tmp_path / "numbers.yaml"), generator=str(tmp_path / "flow.yaml"), **own),
        kept=3,
        shown=2,
        edited=1,
        **own,
    )
    monkeypatch.setattr(SpeechDemo, "settings_class", lambda: tiny)
    monkeypatch.setattr(edits, "with_another_word", lambda text: "hum b." if text != "hum b." else None)
    monkeypatch.setattr(library, "word_times", lambda sound, rate: [("hum", 0.0, 0.1), ("aaa", 0.2, 0.3)])
    monkeypatch.delenv("MMGEN_DEMO_STARTED", raising=False)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[SpeechFindings]:
    """What the demo found, when it has run."""
    kept: list[SpeechFindings] = []
    find = SpeechDemo.find

    def remembered(self: SpeechDemo, *args: Any) -> SpeechFindings:
        kept.append(find(self, *args))
        return kept[-1]

    monkeypatch.setattr(SpeechDemo, "find", remembered)
    return kept


@pytest.mark.e2e
@pytest.mark.usefixtures("small")
def test_an_interrupted_demo_goes_on_and_its_commands_repeat_its_sounds(
    found: list[SpeechFindings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    monkeypatch.setattr(speech, "get_recogniser", Hearsay)
    monkeypatch.setattr(speech, "measure_speech_tokenizer", quick_codec)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SpeechDemo, "find", interrupt)
        assert main(["demo", "speech"]) == 130
    assert "the same command goes on with runs/demo-speech where it stopped" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(fit, "run", interrupt)  # all training is done
        assert main(["demo", "speech"]) == 0
    assert capsys.readouterr().out.count("kept from the interrupted demo") == 7

    metrics = json.loads(Path("runs/demo-speech/metrics.json").read_text())
    assert list(metrics["modes"]) == MODES
    assert metrics["codecs"]["residual codes"]["stoi"] == 0.5
    for each in metrics["modes"].values():
        assert each["samples"] == 3 and each["wer_hearsay"] >= 0
    assert metrics["edits"] == [{"from": found[0].edits[0].old, "to": "hum b.", "heard": "hum aaa"}]

    page = Path("runs/demo-speech/index.html").read_text()
    commands = [
        unescape(re.sub("<[^>]*>", "", each)) for each in re.findall("<code>(mmgen.*?|<span>mmgen.*?)</code>", page)
    ]
    modes = {each.mode: each for line in found[0].lines for each in line.modes}
    for mode in ("ar", "block"):
        line = next(each for each in commands if " sample " in each and f"--mode {mode}" in each)
        assert main([*shlex.split(line)[1:], "--out", mode]) == 0
        again = load_file(Path(mode) / "samples.safetensors")["tokens"]
        torch.testing.assert_close(again, modes[mode].report.spoken.tokens[:2])
    line = next(each for each in commands if " edit " in each)
    monkeypatch.chdir(".")
    assert main([*shlex.split(line)[1:], "--out", "edited"]) == 0
    again = load_file("edited/tokens.safetensors")["tokens"]
    assert len(again) == 1


def quick_codec(tokenizer: Any, samples: Any, recogniser: Any = None, batch: int = 16, progress: Any = None) -> Any:
    """In the place of what listens to hums for speech."""
    from mmgen.modalities.speech.evaluation.signal_metrics import SpeechFigure
    from mmgen.modalities.speech.evaluation.tokenizer import CodecReport

    return CodecReport([SpeechFigure("stoi", 0.5)], [torch.zeros(10)] * len(samples))


def test_without_a_recogniser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from mmgen.apps.demo.folder import DemoFolder
    from mmgen.apps.demo.stages import Walk

    def missing() -> None:
        raise UserError("the recogniser is missing")

    monkeypatch.setattr(speech, "get_recogniser", missing)
    folder, _ = DemoFolder.claim(tmp_path / "demo", {})
    demo = SpeechDemo(SpeechSettings(), folder, Walk(SpeechDemo.stages, float("inf"), 0, Console(quiet=True)))
    demo._invite()
    assert demo.missing == "the recogniser is missing"
    assert all(line.listeners.recogniser is None for line in demo.lines)

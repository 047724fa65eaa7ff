from pathlib import Path

import pytest
from rich.console import Console

from mmgen.apps.demo.budget import ROUND, Measured, Plan
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.settings import Settings
from mmgen.apps.demo.speech.demo import SECOND, SpeechDemo
from mmgen.apps.demo.speech.edits import with_another_word
from mmgen.apps.demo.speech.findings import in_words
from mmgen.apps.demo.speech.settings import SpeechSettings
from mmgen.apps.demo.stages import Walk
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.speech.evaluation.generator import Listeners

GENERATOR = """trainer: {max_steps: %d}
data:
  class_path: DataModule
  init_args: {tokenizer: x, source: {class_path: EspeakSpeech, init_args: {seconds: 2.4}}}
"""


@pytest.fixture
def demo(tmp_path: Path) -> SpeechDemo:
    for name, steps in (("first", 1200), ("second", 600)):
        (tmp_path / f"{name}.yaml").write_text(GENERATOR % steps)
    own = {"samples": (8,), "timed_samples": 2, "data_options": {"clips": 30}}
    first, second = (str(tmp_path / f"{name}.yaml") for name in ("first", "second"))
    settings = SpeechSettings(
        tokenizer=first, generator=first, second=Settings(tokenizer=second, generator=second, **own), **own
    )
    folder, _ = DemoFolder.claim(tmp_path / "demo", settings.record())
    return SpeechDemo(settings, folder, Walk(SpeechDemo.stages, float("inf"), 0, Console(quiet=True)))


def test_each_line_has_stages_and_folders_of_its_own(demo: SpeechDemo) -> None:
    keys = [stage.key for stage in SpeechDemo.stages]
    assert len(demo.lines) == 2
    for name in ("tokenizer", "tokens", "generator"):
        assert [line.key(name) for line in demo.lines] == [name, f"{SECOND}{name}"]
        assert {line.key(name) for line in demo.lines} <= set(keys)
    files = [line._data_of_tokens() for line in demo.lines]
    assert len(set(files)) == 2 and all(file is not None and "clips: 30" in file.read_text() for file in files)
    assert demo.second is not None and demo.second.commands is demo.commands


def test_time_is_shared_in_proportion_to_what_recipes_want(demo: SpeechDemo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.second is not None
    for line, step in zip(demo.lines, (0.1, 0.4)):
        monkeypatch.setattr(line, "_time", lambda step=step: Measured(step, 3.0, 0.5, 0.0))
    for line in demo.lines:
        line.listeners = Listeners(None, None, naturalness=False)
    measured = demo._timed()
    assert measured.step == pytest.approx(0.1 + 0.4 * 600 / 1200)
    assert (measured.fit, measured.sample) == (6.0, 1.0)
    planned = Plan(steps=600, samples=8, training=200.0, sampling=20.0)
    assert demo._of_second(planned).steps == 300
    assert demo._of_second(Plan(30, 8, 10.0, 1.0)).steps == ROUND
    assert demo._of_second(Plan(1200, 8, 10.0, 1.0)).steps == 600
    demo._expect(planned)
    seconds = [demo.walk.needs(key) for key in ("generator", f"{SECOND}generator", "samples")]
    assert sum(seconds[:2]) == pytest.approx(200.0) and seconds[2] == 20.0


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("three, seven, one", "three, zero, one"),
        ("zero, seven, zero, nine", "zero, one, zero, nine"),
        ("one, two", None),
        ("the teacher opens the letter", None),
    ],
)
def test_another_digit_comes_in_the_second_place(text: str, new: str | None) -> None:
    assert with_another_word(text) == new


def test_tokens_of_sound_are_told_in_words() -> None:
    residual = TokenSpec("residual", 256, (120, 1, 1), levels=4, modality="speech", rate=50.0, stride=320, first=320)
    assert in_words(residual) == "50 tokens a second, each of 4 codes out of 256"
    continuous = TokenSpec("continuous", 16, (60, 1, 1), modality="speech", rate=25.0, stride=640, first=640)
    assert in_words(continuous) == "25 tokens a second, each of 16 numbers"


def test_the_settings_of_both_lines_are_kept(demo: SpeechDemo) -> None:
    record = demo.settings.record()
    assert record["second"]["options"] == [[], [], {"clips": 30}]
    assert set(record["recipes"]) == {demo.settings.tokenizer, demo.settings.generator}

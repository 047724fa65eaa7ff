from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from mmgen.apps.demo.budget import Measured, Plan
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.motion.between import fill_gaps, unlike, with_straight_lines
from mmgen.apps.demo.motion.demo import MotionDemo, one_of_each
from mmgen.apps.demo.motion.findings import _of_modes
from mmgen.apps.demo.motion.settings import MotionSettings
from mmgen.apps.demo.pair import SECOND
from mmgen.apps.demo.settings import Settings
from mmgen.apps.demo.stages import Walk
from mmgen.evaluation.command import Metric
from mmgen.modalities.motion.features import features_to_joints
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded, load_generator
from tests.evaluation.motions import FPS, NAMES, Moves, moves_run
from tests.motion_runs import motion_tokenizer_run

GENERATOR = """trainer: {max_steps: %d}
data:
  class_path: DataModule
  init_args: {tokenizer: x, source: {class_path: Mocap, init_args: {frames: 48}}}
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(moves_run(folder / "moves", motion_tokenizer_run(folder / "coder"), text=None))


def test_each_line_has_stages_and_folders_of_its_own_and_a_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, steps in (("first", 1200), ("other", 600)):
        (tmp_path / f"{name}.yaml").write_text(GENERATOR % steps)
    own: dict[str, Any] = {"samples": (8,), "timed_samples": 2, "data_options": {"clips": 30}}
    first, other = (str(tmp_path / f"{name}.yaml") for name in ("first", "other"))
    settings = MotionSettings(
        tokenizer=first, generator=first, second=Settings(tokenizer=other, generator=other, **own), **own
    )
    folder, _ = DemoFolder.claim(tmp_path / "demo", settings.record())
    demo = MotionDemo(settings, folder, Walk(MotionDemo.stages, float("inf"), 0, Console(quiet=True)))
    keys = [stage.key for stage in MotionDemo.stages]
    for name in ("tokenizer", "tokens", "generator"):
        assert [line.key(name) for line in demo.lines] == [name, f"{SECOND}{name}"]
        assert {line.key(name) for line in demo.lines} <= set(keys)
    assert settings.record()["second"]["options"] == [[], [], {"clips": 30}]
    for line, step in zip(demo.lines, (0.1, 0.4)):
        monkeypatch.setattr(line, "_time", lambda step=step: Measured(step, 3.0, 0.5, 1.0))
    timed = demo._timed()
    assert (timed.step, timed.fit, timed.sample, timed.always) == pytest.approx((0.1 + 0.4 * 600 / 1200, 6.0, 1.0, 2.0))
    demo._expect(Plan(steps=600, samples=8, training=200.0, sampling=20.0))
    seconds = [demo.walk.needs(key) for key in ("generator", f"{SECOND}generator", "samples")]
    assert sum(seconds[:2]) == pytest.approx(200.0) and seconds[2] == 20.0


def test_straight_lines_leave_all_but_the_gap_and_go_evenly_over_it() -> None:
    joints = torch.randn(12, 22, 3, generator=torch.Generator().manual_seed(0))
    made = with_straight_lines(joints, 4, 8)
    assert made.shape == joints.shape
    assert torch.equal(made[:4], joints[:4]) and torch.equal(made[8:], joints[8:])
    steps = made[3:9].diff(dim=0)
    torch.testing.assert_close(steps, ((joints[8] - joints[3]) / 5).expand_as(steps))
    assert not torch.allclose(made[4:8], joints[4:8])


def test_the_longest_of_each_action_come_first() -> None:
    assert unlike([0, 0, 1, 1, 2], [5, 9, 4, 8, 1], 3) == [1, 3, 4]
    assert unlike([0, 0, 1, 1, 2], [5, 9, 4, 8, 1], 5) == [1, 3, 4, 0, 2]
    assert unlike([0, 0], [2, 2], 4) == [0, 1]


def test_gaps_are_filled_by_the_modes_that_can_and_straight_lines_have_the_figure_of_evaluate(loaded: Loaded) -> None:
    from mmgen.modalities.motion.evaluation.generator import Real
    from mmgen.modalities.motion.evaluation.inbetween import Gaps, linear, measure_inbetween

    source = Moves(texts=False)
    held_out = source.samples("val")
    found = fill_gaps(loaded, source, "held out", held_out, 2, lambda mode: SampleOptions())
    assert found is not None
    gaps = Gaps.of(Real.of(loaded, source, held_out), loaded.spec)
    assert found.straight_mm == pytest.approx(linear(gaps)[0].value, rel=1e-5)
    assert list(found.filled) == list(found.filled_mm) == ["masked"]
    again = measure_inbetween(loaded, "masked", gaps, SampleOptions())[0].value
    assert found.filled_mm["masked"] == pytest.approx(again, rel=1e-5)
    assert found.samples == len(gaps) == 12
    assert sorted(found.labels) == sorted(NAMES)
    for real, straight, made, (start, stop) in zip(found.real, found.straight, found.filled["masked"], found.gaps):
        assert real.shape == straight.shape == made.shape
        assert 0 < start < stop < len(real)
        torch.testing.assert_close(straight[stop:], real[stop:])
    mean = sum(int(stop - start) for start, stop in zip(gaps.start, gaps.stop)) * gaps.stride / len(gaps) / FPS
    assert found.seconds == pytest.approx(mean)


def test_nothing_is_told_of_gaps_where_no_motion_has_room_for_one(loaded: Loaded) -> None:
    source = Moves(texts=False)
    held_out = source.samples("val")
    held_out.length = torch.full((12,), 4)  # type: ignore[attr-defined]
    assert fill_gaps(loaded, source, "held out", held_out, 2, lambda mode: SampleOptions()) is None


def test_the_longest_recorded_motion_of_each_action_is_found() -> None:
    source = Moves(texts=False)
    found = one_of_each(source, NAMES)
    batch = source.samples("train").take(torch.arange(24))
    for label, joints in enumerate(found):
        assert len(joints) == max(batch["length"][batch["label"] == label].tolist())
        real = [features_to_joints(x[:, : len(joints)].mT) for x in batch["x"][batch["label"] == label]]
        assert any(torch.equal(joints, each) for each in real)


def test_figures_of_real_motions_stand_beside_those_of_modes() -> None:
    assert _of_modes(Metric("label_accuracy_real", 0.5, "motion_cnn")) == "label_accuracy_motion_cnn"
    assert _of_modes(Metric("foot_skate_real", 0.5)) == "foot_skate"

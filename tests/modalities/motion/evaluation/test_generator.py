"""Figures of generated motions, with movers that cheat in known ways."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.evaluation.command import ModeSampling
from mmgen.modalities.motion.evaluation import generator as motion_generator
from mmgen.modalities.motion.evaluation import inbetween as motion_inbetween
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier
from mmgen.modalities.motion.evaluation.classifier import train as train_classifier
from mmgen.modalities.motion.evaluation.generator import Real, measure_motions, measure_real
from mmgen.modalities.motion.evaluation.inbetween import Gaps, linear, measure_inbetween
from mmgen.modalities.motion.evaluation.metrics import Judges
from mmgen.modalities.motion.evaluation.text import TextMotion
from mmgen.modalities.motion.evaluation.text import train as train_texts
from mmgen.modalities.motion.sampling import MotionSamples
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from tests.evaluation.motions import TEXT, Moves, moves_run, noisy
from tests.modalities.motion.evaluation import test_classifier as test_motion_classifier
from tests.modalities.motion.evaluation import test_text as test_motion_text
from tests.motion_runs import motion_tokenizer_run

SOURCE = Moves()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(moves_run(folder / "gen", motion_tokenizer_run(folder / "tokenizer")))


@pytest.fixture(scope="module")
def judges() -> Judges:
    classifier = MotionClassifier(test_motion_classifier.QUICK, *SOURCE.statistics(), 2)
    train_classifier(classifier, SOURCE.samples("train"))
    texts = TextMotion(test_motion_text.QUICK, *SOURCE.statistics())
    train_texts(texts, SOURCE.samples("train"), TEXT)
    return Judges(classifier, texts)


@pytest.fixture(scope="module")
def held_out(loaded: Loaded) -> Real:
    return Real.of(loaded, SOURCE, SOURCE.samples("val"))


Mover = Callable[[list[Tensor]], list[Tensor]]


def moving(monkeypatch: pytest.MonkeyPatch, real: Real, mover: Mover) -> list[dict[str, Any]]:
    """Takes the place of sampling; the calls, as they come."""
    calls: list[dict[str, Any]] = []

    def sample_motion(task: SamplingTask) -> MotionSamples:
        calls.append({"labels": task.conditions["class"], "texts": task.conditions.get("text"), "task": task})
        return MotionSamples(torch.zeros(1), torch.tensor([40, 44]), 7, 21, 3.0, mover(real.motions), 20.0)

    for module in (motion_generator, motion_inbetween):
        monkeypatch.setattr(module, "sample_motion", sample_motion)
    return calls


def measured(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, real: Real, judges: Judges, mover: Mover
) -> dict[str, float]:
    moving(monkeypatch, real, mover)
    return measure_motions(ModeSampling(loaded, "ar"), real, judges, judges.features(real.motions)).values


def test_the_motions_themselves_score_as_they_do(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, held_out: Real, judges: Judges
) -> None:
    calls = moving(monkeypatch, held_out, lambda motions: motions)
    others = judges.features(held_out.motions)
    values = measure_motions(ModeSampling(loaded, "ar"), held_out, judges, others).values
    real = {each.name: each.value for each in measure_real(held_out, held_out, judges)}
    assert list(values) == [
        "label_accuracy_motion_cnn", "fid_motion_cnn", "diversity_motion_cnn", "multimodality_motion_cnn",
        "r_precision_1_text_motion_gru", "r_precision_2_text_motion_gru", "r_precision_3_text_motion_gru",
        "matching_score_text_motion_gru", "foot_skate", "jerk", "forward_passes", "tokens_per_forward",
        "seconds_per_second",
    ]  # fmt: skip
    for name, value in real.items():
        assert values[name.replace("_real", "")] == pytest.approx(value, abs=1e-9)
    assert values["fid_motion_cnn"] == pytest.approx(0, abs=1e-6)
    assert values["label_accuracy_motion_cnn"] >= 0.9
    assert values["multimodality_motion_cnn"] < values["diversity_motion_cnn"]
    assert (values["forward_passes"], values["tokens_per_forward"]) == (21, 2)
    assert values["seconds_per_second"] == pytest.approx(3.0 / (held_out.lengths.sum().item() / 20))
    (call,) = calls
    assert torch.equal(call["labels"], held_out.actions) and call["texts"] == held_out.captions
    assert torch.equal(call["task"].lengths, held_out.lengths)


def test_trembling_and_doing_something_else_are_noticed(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, held_out: Real, judges: Judges
) -> None:
    exact = measured(monkeypatch, loaded, held_out, judges, lambda motions: motions)
    rough = measured(monkeypatch, loaded, held_out, judges, lambda motions: [noisy(each) for each in motions])
    assert rough["jerk"] > 2 * exact["jerk"]
    rougher = measured(monkeypatch, loaded, held_out, judges, lambda motions: [noisy(each, 0.1) for each in motions])
    assert exact["fid_motion_cnn"] < rough["fid_motion_cnn"] < rougher["fid_motion_cnn"]
    others = measured(monkeypatch, loaded, held_out, judges, lambda motions: motions[1:] + motions[:1])
    assert others["label_accuracy_motion_cnn"] <= 0.1  # slow and fast take turns
    assert others["r_precision_1_text_motion_gru"] < exact["r_precision_1_text_motion_gru"] - 0.3
    assert others["fid_motion_cnn"] == pytest.approx(0, abs=1e-6)  # as a set they are the same
    same = measured(monkeypatch, loaded, held_out, judges, lambda motions: motions[:1] * len(motions))
    assert same["diversity_motion_cnn"] == pytest.approx(0, abs=1e-6)
    assert same["multimodality_motion_cnn"] == pytest.approx(0, abs=1e-6)

    def slid(motion: Tensor) -> Tensor:
        pushed = motion.clone()
        pushed[1] += 0.1  # two metres a second
        return pushed

    pushed = measured(monkeypatch, loaded, held_out, judges, lambda motions: [slid(each) for each in motions])
    assert pushed["foot_skate"] > exact["foot_skate"]


def test_what_nobody_asked_for_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, held_out: Real, judges: Judges, tmp_path: Path
) -> None:
    run = moves_run(tmp_path / "gen", motion_tokenizer_run(tmp_path / "tokenizer"), classes=0, text=None)
    unconditional = load_generator(run)
    real = Real.of(unconditional, SOURCE, SOURCE.samples("val"))
    assert real.texts is None and real.labels.eq(-1).all() and real.captions is not None
    values = measured(monkeypatch, unconditional, real, judges, lambda motions: motions)
    assert not any(name.startswith(("label_accuracy", "multimodality", "r_precision")) for name in values)
    assert "fid_motion_cnn" in values
    with_texts = measured(monkeypatch, unconditional, real, Judges(None, judges.texts), lambda motions: motions)
    assert "fid_text_motion_gru" in with_texts  # without classes the other network compares
    with_none = measured(monkeypatch, unconditional, real, Judges(None, None), lambda motions: motions)
    assert list(with_none) == ["foot_skate", "jerk", "forward_passes", "tokens_per_forward", "seconds_per_second"]


def spec() -> Any:
    return SimpleNamespace(latents=lambda frames: -(-frames // 4), stride=4)


def test_gaps_are_middle_thirds_and_a_straight_line_is_no_walk(held_out: Real) -> None:
    gaps = Gaps.of(held_out, spec())
    assert (gaps.start[:3].tolist(), gaps.stop[:3].tolist()) == ([2, 2, 1], [4, 4, 2])  # of 6, 6 and 4 tokens
    assert gaps.keep(6)[2].tolist() == [True, False, True, True, True, True]
    (line,) = linear(gaps)
    assert line.name == "inbetween_linear_mm" and 5 < line.value < 200
    still = replace(held_out, x=held_out.x[..., :1].repeat(1, 1, 24).index_fill(1, torch.arange(3), 0.0))
    (line,) = linear(Gaps.of(still, spec()))
    assert line.value == pytest.approx(0, abs=1e-3)
    short = replace(held_out, lengths=torch.full_like(held_out.lengths, 8))
    assert linear(Gaps.of(short, spec())) == []


def test_what_is_filled_in_is_compared_within_the_gap_alone(
    monkeypatch: pytest.MonkeyPatch, loaded: Loaded, held_out: Real
) -> None:
    gaps = Gaps.of(held_out, loaded.spec)

    def error(mover: Mover) -> float:
        calls = moving(monkeypatch, held_out, mover)
        (figure,) = measure_inbetween(ModeSampling(loaded, "masked", batch=5), gaps)
        (call,) = calls
        task = call["task"]
        assert task.known.shape == (12, 6, 2) and torch.equal(task.keep, gaps.keep(6))
        assert torch.equal(task.lengths, held_out.lengths)
        return figure.value

    def spoilt(motion: Tensor, inside: bool) -> Tensor:
        tokens = motion.shape[1] // 4
        gap, changed = slice(tokens // 3 * 4, 2 * tokens // 3 * 4), motion.clone()
        lifted = changed[4:67]
        lifted[:, gap if inside else slice(gap.stop, None)] += 0.1
        return changed

    assert error(lambda motions: motions) == 0
    assert error(lambda motions: [spoilt(each, inside=False) for each in motions]) == 0
    assert error(lambda motions: [spoilt(each, inside=True) for each in motions]) == pytest.approx(
        100 * 3**0.5 * 21 / 22, rel=1e-3
    )


def test_data_that_do_not_fit_are_told(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Moves(texts=False)
    with pytest.raises(UserError, match="reads texts, and the data has none"):
        Real.of(loaded, source, source.samples("val"))
    monkeypatch.setattr(Moves, "sample_shape", (263, 48))
    with pytest.raises(UserError, match="up to 24 frames, and the data has 48"):
        Real.of(loaded, SOURCE, SOURCE.samples("val"))

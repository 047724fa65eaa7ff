from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.modalities.motion.evaluation import classifier as module
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier, accuracy, motion_classifier, train
from mmgen.modalities.motion.evaluation.network import MotionRecipe, cropped, motions_of
from tests.evaluation.motions import Moves, noisy

QUICK = replace(MotionRecipe(), width=16, features=8, steps=30, batch=8, lr=1e-2)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for classifiers that train in no time."""
    monkeypatch.setattr(module, "MotionRecipe", lambda: QUICK)
    return tmp_path / "classifiers"


def test_it_knows_held_out_motions_and_says_how_well(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Moves()
    judge = motion_classifier(source, quick)
    assert judge.accuracy == accuracy(judge, source.samples("val")) >= 0.9
    assert judge.accuracy_training >= 0.9
    assert f"right about {judge.accuracy:.1%} of held-out" in judge.protocol["motion_cnn"]
    assert "67 features" in judge.protocol["motion_cnn"]
    motions = motions_of(source.samples("val").take(torch.arange(12)))
    names = judge.logits([motion.flip(1) * 0 for motion in motions]).argmax(1)
    assert len(names.unique()) == 1  # motions that are none are told apart by nothing
    monkeypatch.setattr(module, "train", None)  # calling it would raise
    again = motion_classifier(source, quick)
    assert (again.accuracy, again.accuracy_training) == (judge.accuracy, judge.accuracy_training)
    assert torch.equal(again.logits(motions), judge.logits(motions))


def test_other_data_other_classes_other_motions_and_another_recipe_are_other_classifiers(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", lambda *_: None)
    named, scaled = Moves(), Moves()
    named.class_names = ["one", "two"]
    scaled.samples("train").x *= 1.01  # type: ignore[attr-defined]
    for count, source in enumerate((Moves(), Moves(texts=False), named, scaled), 1):
        motion_classifier(source, quick)
        assert len(list(quick.iterdir())) == count
    monkeypatch.setattr(module, "MotionRecipe", lambda: replace(QUICK, steps=20))
    motion_classifier(Moves(), quick)
    assert len(list(quick.iterdir())) == 5


def test_training_depends_on_recipe_and_data_alone() -> None:
    source, quick = Moves(), replace(QUICK, steps=3)
    states = []
    for recipe in (quick, quick, replace(quick, seed=1)):
        classifier = MotionClassifier(recipe, *source.statistics(), source.classes)
        train(classifier, source.samples("train"))
        states.append(classifier.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["head.weight"], states[2]["head.weight"])


def test_a_motion_is_seen_alone_and_to_its_end() -> None:
    judge, batch = MotionClassifier(QUICK, *Moves().statistics(), 2), Moves().samples("val").take(torch.arange(6))
    motions = motions_of(batch)
    assert sorted({motion.shape[1] for motion in motions}) == [16, 24]
    together = judge.features(motions)
    assert together.shape == (6, QUICK.features) and together.dtype == torch.float64
    for row, motion in enumerate(motions):
        torch.testing.assert_close(judge.features([motion])[0], together[row])
    behind = torch.arange(batch["x"].shape[2]) >= batch["length"][:, None, None]
    padded = judge.body(batch["x"].masked_fill(behind, 7.0), batch["length"])
    torch.testing.assert_close(padded.double(), together)
    unseen = motions[0].clone()
    unseen[67:] = 9  # rotations, velocities and contacts
    assert torch.equal(judge.features([unseen]), judge.features(motions[:1]))
    assert not torch.allclose(judge.features([noisy(motions[0])]), judge.features(motions[:1]))


def test_parts_of_motions_are_parts_of_them() -> None:
    batch = Moves().samples("val").take(torch.arange(12))
    x, lengths = cropped(batch, Draws(0, batch["sample"]), 0.25)
    assert bool((lengths >= (0.25 * batch["length"]).ceil()).all()) and bool((lengths <= batch["length"]).all())
    assert len(lengths.unique()) > 3
    for part, length, whole in zip(x, lengths.tolist(), motions_of(batch)):
        windows = whole.unfold(1, length, 1).unbind(1)
        assert sum(torch.equal(window, part[:, :length]) for window in windows) == 1
    same, whole = cropped(batch, Draws(0, batch["sample"]), 1.0)
    assert torch.equal(whole, batch["length"]) and torch.equal(same, batch["x"])


def test_without_classes_there_is_nothing_to_learn(quick: Path) -> None:
    with pytest.raises(UserError, match="no classes"):
        motion_classifier(Moves(classes=False), quick)

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.modalities.motion.evaluation import classifier as module
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier, Recipe, accuracy, motion_classifier, train
from mmgen.modalities.motion.evaluation.network import cropped, motions_of
from tests.evaluation.motions import Moves, noisy

QUICK = replace(Recipe(), width=16, features=8, steps=30, batch=8, lr=1e-2)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for classifiers that train in no time."""
    monkeypatch.setattr(module, "Recipe", lambda: QUICK)
    return tmp_path / "classifiers"


def trained(recipe: Recipe = QUICK, source: Moves | None = None) -> MotionClassifier:
    source = source or Moves()
    classifier = MotionClassifier(recipe, *source.statistics(), source.classes)
    train(classifier, source.samples("train"))
    return classifier


def test_it_knows_held_out_motions_and_says_how_well(quick: Path) -> None:
    source = Moves()
    judge = motion_classifier(source, quick)
    assert judge.accuracy == accuracy(judge, source.samples("val")) >= 0.9
    assert judge.accuracy_training >= 0.9
    assert f"right about {judge.accuracy:.1%} of held-out" in judge.protocol["motion_cnn"]
    assert "67 features" in judge.protocol["motion_cnn"]
    batch = source.samples("val").take(torch.arange(12))
    named = judge.logits([motion.flip(1) * 0 for motion in motions_of(batch)]).argmax(1)
    assert len(named.unique()) == 1  # motions that are none are told apart by nothing


def test_it_is_trained_once_for_each_data_set_and_comes_back_the_same(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = motion_classifier(Moves(), quick), motion_classifier(Moves(texts=False), quick)
    assert len(list(quick.iterdir())) == 2
    monkeypatch.setattr(module, "train", None)  # calling it would raise
    again = motion_classifier(Moves(), quick)
    assert (again.accuracy, again.accuracy_training) == (first.accuracy, first.accuracy_training)
    motions = motions_of(Moves().samples("val").take(torch.arange(3)))
    assert torch.equal(again.logits(motions), first.logits(motions))
    assert torch.equal(other.logits(motions), first.logits(motions))  # of the same motions under another name
    assert not any(part.training for part in again.modules())
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("damage", ["weights", "about", "no weights"])
def test_a_damaged_one_is_replaced(quick: Path, damage: str) -> None:
    first = motion_classifier(Moves(), quick)
    (folder,) = quick.iterdir()
    weights, about = folder / "model.safetensors", folder / "classifier.json"
    if damage == "weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "about":
        about.write_text("{")
    else:
        weights.unlink()
    mended = motion_classifier(Moves(), quick)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), mended.state_dict().values()))
    assert json.loads(about.read_text())["data"] == "moves train"


def test_other_classes_other_motions_and_another_recipe_are_other_classifiers(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion_classifier(Moves(), quick)
    named, scaled = Moves(), Moves()
    named.class_names = ["one", "two"]
    scaled.samples("train").x *= 1.01  # type: ignore[attr-defined]
    for count, source in enumerate((named, scaled), 2):
        motion_classifier(source, quick)
        assert len(list(quick.iterdir())) == count
    monkeypatch.setattr(module, "Recipe", lambda: replace(QUICK, steps=20))
    motion_classifier(Moves(), quick)
    assert len(list(quick.iterdir())) == 4


def test_training_is_a_function_of_recipe_and_data_on_any_number_of_threads() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = trained().state_dict()
    assert torch.equal(torch.rand(2), expected)
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    second, other = trained().state_dict(), trained(replace(QUICK, seed=1)).state_dict()
    torch.set_num_threads(threads)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_motion_is_seen_alone_and_to_its_end() -> None:
    judge, batch = trained(), Moves().samples("val").take(torch.arange(6))
    motions = motions_of(batch)
    assert sorted({motion.shape[1] for motion in motions}) == [16, 24]
    together = judge.features(motions)
    assert together.shape == (6, QUICK.features) and together.dtype == torch.float64
    for row, motion in enumerate(motions):
        torch.testing.assert_close(judge.features([motion])[0], together[row])
    behind = torch.arange(batch["x"].shape[2]) >= batch["length"][:, None, None]
    filled = judge.body(batch["x"].masked_fill(behind, 7.0), batch["length"])
    torch.testing.assert_close(filled.double(), together)
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


def test_what_cannot_be_learnt_or_kept_is_told_before_training(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", None)
    with pytest.raises(UserError, match="no classes"):
        motion_classifier(Moves(classes=False), quick)
    quick.write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        motion_classifier(Moves(), quick)

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import Judge, Pixels, as_bytes, extract
from mmgen.modalities.image.evaluation import classifier as module
from mmgen.modalities.image.evaluation.classifier import (
    Classifier,
    ClassifierRecipe,
    accuracy,
    digits_classifier,
    distort,
    train,
)
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.sources.digits import Digits

QUICK = replace(ClassifierRecipe(), width=4, features=8, epochs=1, batch=40)


def test_it_knows_held_out_digits() -> None:
    """The one slow test: every figure of the digits rests on it."""
    digits, recipe = Digits(), replace(ClassifierRecipe(), epochs=5)
    classifier, held_out = Classifier(recipe), digits.samples("val")
    assert len(held_out) == 1000
    train(classifier, recipe, digits.samples("train"))
    assert accuracy(classifier, held_out) >= 0.97


def test_it_comes_back_the_same_and_looks_at_each_image_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Digits(Digits.make_fake(tmp_path / "digits", samples=200)["folder"])
    monkeypatch.setattr(module, "ClassifierRecipe", lambda: QUICK)
    monkeypatch.setattr(module, "Digits", lambda: source)
    first = digits_classifier(tmp_path / "classifier")
    monkeypatch.setattr(module, "train", None)  # calling it would raise
    judge = digits_classifier(tmp_path / "classifier")
    assert judge.accuracy == first.accuracy and isinstance(judge, Judge)
    x = Draws(0, torch.arange(5)).uniform("x", 1, 28, 28).float() * 2 - 1
    features = extract(judge, x.split(2))
    assert features.shape == (5, judge.num_features) and features.dtype == torch.float64
    torch.testing.assert_close(features.float(), judge(as_bytes(x)))
    assert judge.logits(x).shape == (5, 10) and torch.equal(judge.logits(x), first.logits(x))


def test_distortions_are_each_image_s_own_and_none_at_all_change_nothing() -> None:
    x = Digits().samples("val").take(torch.arange(6))["x"]
    still = replace(ClassifierRecipe(), turn=0, stretch=0, shear=0, shift=0)
    torch.testing.assert_close(distort(x, Draws(0, torch.arange(6)), still), x, atol=1e-5, rtol=0)
    moved = distort(x, Draws(0, torch.arange(6)), ClassifierRecipe())
    assert not torch.allclose(moved, x, atol=0.1)
    assert -1 <= moved.min() <= moved.max() <= 1 + 1e-5
    torch.testing.assert_close(distort(x[4:], Draws(0, torch.arange(4, 6)), ClassifierRecipe()), moved[4:])


def test_pixels_need_no_training_and_know_no_classes() -> None:
    pixels = get_image_extractor("pixels", (3, 14, 14))
    assert isinstance(pixels, Pixels) and not isinstance(pixels, Judge)
    x = torch.arange(2 * 3 * 14 * 14).view(2, 3, 14, 14).float()
    assert pixels(x).shape == (2, pixels.num_features)
    assert pixels(x)[0, 0] == x[0, 0, :2, :2].mean()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("digits_cn", (1, 28, 28), "did you mean 'digits_cnn'"),
        ("digits_cnn", (3, 28, 28), r"\(3, 28, 28\); choose --extractor efflite0 or pixels"),
        ("pixels", (16,), r"looks at images"),
    ],
)
def test_an_extractor_that_does_not_fit_is_refused_before_it_is_trained(
    name: str, shape: tuple[int, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_or_train", None)
    with pytest.raises(UserError, match=message):
        get_image_extractor(name, shape)

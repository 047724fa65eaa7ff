import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import Judge, Pixels, as_bytes, extract
from mmgen.evaluation.torch_state import seeded
from mmgen.modalities.image.evaluation import classifier as module
from mmgen.modalities.image.evaluation.classifier import Recipe, accuracy, digits_classifier, distort, train
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.sources.digits import Digits

QUICK = replace(Recipe(), width=4, features=8, epochs=1, batch=40)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a classifier that trains in no time, on 160 digits."""
    monkeypatch.setattr(module, "Recipe", lambda: QUICK)
    source = Digits(Digits.make_fake(tmp_path / "digits", samples=200)["folder"])
    monkeypatch.setattr(module, "Digits", lambda: source)
    return tmp_path / "classifier"


def test_it_knows_held_out_digits() -> None:
    """The one slow test: every figure of the digits rests on it."""
    digits = Digits()
    held_out = digits.samples("val")
    assert len(held_out) == 1000
    assert accuracy(train(Recipe(), digits.samples("train")), held_out) >= 0.98


def test_it_is_trained_once_and_comes_back_the_same(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digits_classifier(quick)
    monkeypatch.setattr(module, "train", None)  # calling it would raise
    again = digits_classifier(quick)
    assert again.accuracy == first.accuracy
    x = torch.linspace(-1, 1, 3 * 784).view(3, 1, 28, 28)
    assert torch.equal(again.logits(x), first.logits(x))
    assert not any(part.training for part in again.modules())
    assert json.loads((quick / "classifier.json").read_text())["accuracy"] == first.accuracy
    assert {path.suffix for path in quick.iterdir()} == {".json", ".safetensors"}  # nothing pickled


@pytest.mark.parametrize("damage", ["weights", "truncated weights", "about", "recipe", "no weights"])
def test_a_damaged_or_outdated_one_is_replaced(quick: Path, damage: str) -> None:
    first = digits_classifier(quick)
    weights, about = quick / "model.safetensors", quick / "classifier.json"
    if damage == "weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "about":
        about.write_text("{")
    elif damage == "recipe":
        content = json.loads(about.read_text())
        content["recipe"]["lr"] *= 2
        about.write_text(json.dumps(content))
    else:
        weights.unlink()
    mended = digits_classifier(quick)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), mended.state_dict().values()))
    assert json.loads(about.read_text())["recipe"]["lr"] == QUICK.lr


def test_training_is_a_function_of_the_recipe_and_leaves_the_global_generator_alone(quick: Path) -> None:
    digits = module.Digits().samples("train")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = train(QUICK, digits).state_dict()
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(4)
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))  # another number of threads
    second, other = train(QUICK, digits).state_dict(), train(replace(QUICK, seed=1), digits).state_dict()
    torch.set_num_threads(threads)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_progress_counts_epochs(quick: Path) -> None:
    done: list[float] = []
    train(replace(QUICK, epochs=2), module.Digits().samples("train"), done.append)
    assert done == [0.25 * step for step in range(1, 9)]  # 160 digits in batches of 40


def test_an_unwritable_folder_is_told_before_training(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", None)
    quick.write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        digits_classifier(quick)


def test_distortions_are_each_image_s_own_and_none_at_all_change_nothing() -> None:
    x = Digits().samples("val").take(torch.arange(6))["x"]
    still = replace(Recipe(), turn=0, stretch=0, shear=0, shift=0)
    torch.testing.assert_close(distort(x, Draws(0, torch.arange(6)), still), x, atol=1e-5, rtol=0)
    moved = distort(x, Draws(0, torch.arange(6)), Recipe())
    assert not torch.allclose(moved, x, atol=0.1)
    assert -1 <= moved.min() <= moved.max() <= 1 + 1e-5
    torch.testing.assert_close(distort(x[4:], Draws(0, torch.arange(4, 6)), Recipe()), moved[4:])


def test_features_and_logits_are_per_image(quick: Path) -> None:
    judge = digits_classifier(quick)
    x = Draws(0, torch.arange(5)).uniform("x", 1, 28, 28).float() * 2 - 1
    features = extract(judge, x.split(2))
    assert features.shape == (5, judge.num_features)
    assert features.dtype == torch.float64
    torch.testing.assert_close(features.float(), judge.features(as_bytes(x)))
    assert judge.logits(x).shape == (5, 10)
    assert isinstance(judge, Judge)


def test_pixels_need_no_training_and_know_no_classes() -> None:
    pixels = get_image_extractor("pixels", (3, 14, 14))
    assert isinstance(pixels, Pixels)
    x = torch.arange(2 * 3 * 14 * 14).view(2, 3, 14, 14).float()
    assert pixels(x).shape == (2, pixels.num_features)
    assert pixels(x)[0, 0] == x[0, 0, :2, :2].mean()
    assert not isinstance(pixels, Judge)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("digits_cn", (1, 28, 28), "did you mean 'digits_cnn'"),
        ("digits_cnn", (3, 28, 28), r"\(3, 28, 28\); choose --extractor efflite0 or pixels"),
        ("pixels", (16,), r"looks at images"),
    ],
)
def test_an_extractor_that_does_not_fit_is_refused_before_it_is_trained(
    name: str, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        get_image_extractor(name, shape, tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_the_global_generator_is_lent_and_given_back() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(7):
        first = torch.rand(2)
    with seeded(7):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.rand(2), expected)

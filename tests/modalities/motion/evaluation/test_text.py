from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.motion.evaluation import text as module
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.evaluation.text import TextMotion, TextRecipe, captions_of, pool_words, text_motion, train
from tests.evaluation.motions import TEXT, Moves

QUICK = replace(TextRecipe(), width=16, features=16, hidden=16, word=16, shared=8, steps=80, batch=12, lr=1e-2)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for evaluators that train in no time."""
    monkeypatch.setattr(module, "TextRecipe", lambda: QUICK)
    return tmp_path / "evaluators"


def test_texts_find_motions_that_it_never_saw_and_other_texts_do_not(quick: Path) -> None:
    source = Moves()
    judge, batch = text_motion(source, quick), source.samples("val").take(torch.arange(12))
    motions, captions = motions_of(batch), captions_of(batch, TEXT)
    found = judge.measure(motions, captions)
    assert found == judge.found
    assert found["r_precision_1"] >= 0.75
    wrong = judge.measure(motions, captions[1:] + captions[:1])
    assert wrong["r_precision_1"] <= 0.4
    assert wrong["matching_score"] > found["matching_score"] + 0.3
    still = [motion[:, :1].expand(-1, motion.shape[1]) for motion in motions]
    assert judge.measure(still, captions)["r_precision_1"] < found["r_precision_1"]


def test_it_is_trained_once_and_comes_back_the_same(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = text_motion(Moves(), quick)
    monkeypatch.setattr(module, "train", None)
    again = text_motion(Moves(), quick)
    assert again.found == first.found
    motions = motions_of(Moves().samples("val").take(torch.arange(3)))
    assert torch.equal(again.features(motions), first.features(motions))
    assert torch.equal(again.text_features(["a person walks"]), first.text_features(["a person walks"]))
    assert not any(part.training for part in again.modules())
    ((folder,), (name,)) = [*quick.iterdir()], {"evaluator.json"}
    assert {path.name for path in folder.iterdir()} == {name, "model.safetensors"}


def test_training_is_a_function_of_recipe_and_data() -> None:
    source, quick = Moves(), replace(QUICK, steps=20)
    judges = [TextMotion(recipe, *source.statistics()) for recipe in (quick, quick, replace(quick, seed=1))]
    for judge in judges:
        train(judge, source.samples("train"), TEXT)
    first, second, other = (judge.state_dict() for judge in judges)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["of_text.weight"], other["of_text.weight"])


def test_words_count_and_their_order_and_nothing_else_of_a_text() -> None:
    judge = TextMotion(QUICK, *Moves().statistics()).eval()
    one, same, order, other = judge.text_features(["A man, walking", "a  man walking!", "walking a man", "a man runs"])
    assert torch.equal(one, same)
    assert not torch.allclose(one, order) and not torch.allclose(one, other)
    torch.testing.assert_close(one.norm(), torch.tensor(1.0).double())
    assert judge.text_features(["..."]).isfinite().all()
    alone = judge.text_features(["walking a man"])[0]
    torch.testing.assert_close(alone, order)


def test_what_cannot_be_learnt_is_told(quick: Path) -> None:
    with pytest.raises(UserError, match="no texts"):
        text_motion(Moves(texts=False), quick)


def test_the_pool_is_told() -> None:
    assert "nearest of 32, by chance 0.031, 0.062, 0.094" in pool_words(100)
    assert "nearest of 2, by chance 0.5, 1, 1" in pool_words(2)

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.motion.evaluation import text as module
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.evaluation.text import TextMotion, TextRecipe, captions_of, pool_words, text_motion
from tests.evaluation.motions import TEXT, Moves

QUICK = replace(TextRecipe(), width=16, features=16, hidden=16, word=16, shared=8, steps=80, batch=12, lr=1e-2)


def test_texts_find_motions_that_it_never_saw_and_other_texts_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TextRecipe", lambda: QUICK)
    source = Moves()
    judge, batch = text_motion(source, tmp_path), source.samples("val").take(torch.arange(12))
    motions, captions = motions_of(batch), captions_of(batch, TEXT)
    scores = judge.measure(motions, captions)
    assert scores == judge.scores
    assert scores["r_precision_1"] >= 0.75
    wrong = judge.measure(motions, captions[1:] + captions[:1])
    assert wrong["r_precision_1"] <= 0.4
    assert wrong["matching_score"] > scores["matching_score"] + 0.3
    still = [motion[:, :1].expand(-1, motion.shape[1]) for motion in motions]
    assert judge.measure(still, captions)["r_precision_1"] < scores["r_precision_1"]
    monkeypatch.setattr(module, "train", None)
    again = text_motion(Moves(), tmp_path)
    assert again.scores == scores and torch.equal(again.text_features(captions), judge.text_features(captions))
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"evaluator.json", "model.safetensors"}


def test_words_count_and_their_order_and_nothing_else_of_a_text() -> None:
    judge = TextMotion(QUICK, *Moves().statistics()).eval()
    one, same, order, other = judge.text_features(["A man, walking", "a  man walking!", "walking a man", "a man runs"])
    assert torch.equal(one, same)
    assert not torch.allclose(one, order) and not torch.allclose(one, other)
    torch.testing.assert_close(one.norm(), torch.tensor(1.0).double())
    assert judge.text_features(["..."]).isfinite().all()
    torch.testing.assert_close(judge.text_features(["walking a man"])[0], order)


def test_without_texts_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no texts"):
        text_motion(Moves(texts=False), tmp_path)


def test_the_pool_is_told() -> None:
    assert "nearest of 32, by chance 0.031, 0.062, 0.094" in pool_words(100)
    assert "nearest of 2, by chance 0.5, 1, 1" in pool_words(2)

"""Networks that judge: trained once, a function of their recipe, and never read from a damaged folder."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.judges import JudgeFolder, TrainingRecipe, load_or_train, seeded, train_judge

RECIPE = TrainingRecipe(features=3, batch=4, lr=0.1)


class Line(nn.Module):
    name = "line"

    def __init__(self, recipe: TrainingRecipe = RECIPE) -> None:
        super().__init__()
        with seeded(recipe.seed):
            self.head = nn.Linear(40, recipe.features)


def fit(module: Line, recipe: TrainingRecipe = RECIPE) -> dict[str, Any]:
    def losses() -> Iterator[Tensor]:
        for step in range(10):
            x = Draws(recipe.seed, torch.arange(recipe.batch), step).normal("x", 40).float()
            yield (module.head(x) - 1).square().mean()

    train_judge(module, losses(), 10, recipe)
    return {"accuracy": 0.5}


def judge(folder: Path, recipe: TrainingRecipe = RECIPE, train: Any = fit) -> tuple[Line, dict[str, Any]]:
    return load_or_train(JudgeFolder(folder, "judge.json", {"lr": recipe.lr}), lambda: Line(recipe), train)


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_it_is_trained_once_and_comes_back_the_same_and_frozen(tmp_path: Path) -> None:
    first, _ = judge(tmp_path)
    again, record = judge(tmp_path, train=None)  # training would raise
    assert equal(first, again) and not equal(first, Line()) and record["accuracy"] == 0.5
    assert not any(part.training for part in again.modules())
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}  # nothing pickled


@pytest.mark.parametrize("damage", ["weights", "truncated weights", "no weights", "record", "key"])
def test_a_damaged_or_outdated_one_is_replaced(tmp_path: Path, damage: str) -> None:
    first, _ = judge(tmp_path)
    weights, record = tmp_path / "model.safetensors", tmp_path / "judge.json"
    content = weights.read_bytes()
    if damage == "weights":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncated weights":
        weights.write_bytes(content[:-10])
    elif damage == "no weights":
        weights.unlink()
    else:
        record.write_text("{" if damage == "record" else record.read_text().replace('"lr": 0.1', '"lr": 0.2'))
    assert equal(judge(tmp_path)[0], first)
    assert json.loads(record.read_text())["lr"] == 0.1 and weights.read_bytes() == content


def test_an_unwritable_folder_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        judge(tmp_path / "file", train=None)


def test_training_is_a_function_of_the_recipe_on_any_number_of_threads() -> None:
    """And leaves the global generator as it was."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    modules = [Line(), Line(), Line(replace(RECIPE, seed=1))]
    fit(modules[0])
    torch.set_num_threads(2)
    fit(modules[1])
    fit(modules[2], replace(RECIPE, seed=1))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(torch.rand(2), expected)
    assert equal(modules[0], modules[1]) and not equal(modules[0], modules[2])

"""Changed recipes: they build a model, or end in one line and exit code 2; never in a traceback."""

import os
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmgen.apps.cli.main import main
from tests.fuzz.mutation import fuzz, mutated, mutated_tree
from tests.training.fits import QUICK, TOKENIZER, fake, fit

NAMES = ("tokenizers/digits_vq", "experiments/digits_mixture")
RECIPES = {name: Path(name, "config.yaml").read_text() for name in NAMES}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module")
def options(place: Path) -> dict[str, list[str]]:
    digits = fake(place / "digits")
    few = [*digits, "--data.global_batch_size=4", "--trainer.max_steps=1"]
    tokenizer = fit(place / "bsq", *TOKENIZER, *few)
    return {"tokenizers/digits_vq": digits, "experiments/digits_mixture": [*digits, f"--data.tokenizer={tokenizer}"]}


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is built, and nothing trained; a changed recipe may ask for long."""
    monkeypatch.setattr(L.Trainer, "fit", lambda *_, **__: None)


def check(recipe: bytes, name: str, options: dict[str, list[str]], place: Path, capfd: Any) -> None:
    (place / "recipe.yaml").write_bytes(recipe)
    capfd.readouterr()
    run = [f"--config={place / 'recipe.yaml'}", f"--run={place / 'run'}", "--trainer.fast_dev_run=true"]
    directory = os.getcwd()
    code = main(["fit", *QUICK, *run, *options[name]])
    told = capfd.readouterr().err
    assert code in (0, 2)
    if code:
        assert re.search(r"\Ammgen: error: [^\n]+\n\Z", told), told
    assert "Traceback" not in told
    assert os.getcwd() == directory
    assert not (place / "run").exists()


@fuzz(12)
@given(draw=st.data(), name=st.sampled_from(sorted(RECIPES)))
def test_recipes_with_other_entries(
    draw: st.DataObject, name: str, options: dict[str, list[str]], place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changed = draw.draw(mutated_tree(yaml.safe_load(RECIPES[name])))
    check(yaml.safe_dump(changed).encode(), name, options, place, capfd)


@fuzz(12)
@given(draw=st.data(), name=st.sampled_from(sorted(RECIPES)))
def test_recipes_with_other_letters(
    draw: st.DataObject, name: str, options: dict[str, list[str]], place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = RECIPES[name].encode()
    check(draw.draw(mutated(whole, len(whole))), name, options, place, capfd)

"""Every recipe of the repository has a card, and no card says anything that its commands did not measure."""

from pathlib import Path

import pytest

from mmgen.evaluation.card import KINDS, card_folders, faults
from mmgen.store.recipes import recipes_root


@pytest.mark.parametrize("folder", card_folders(), ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_card_agrees_with_its_results(folder: Path) -> None:
    assert faults(folder) == []


def test_no_recipe_is_missed() -> None:
    """A folder without a config.yaml would have a card that nobody checks."""
    folders = {path for kind in KINDS for path in (recipes_root() / kind).glob("*") if path.is_dir()}
    assert folders == {folder.absolute() for folder in card_folders()}

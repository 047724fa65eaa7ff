"""`mmgen card`: the tables of figures in README files."""

from collections.abc import Sequence
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely
from mmgen.evaluation.card import README, card_folders, faults, unmeasured, update_card


def run(folders: Sequence[str] = (), check: bool = False) -> None:
    """Render the table of figures in each folder's README.md from its results.json.

    Args:
        folders: recipe folders; by default all of them.
        check: change nothing, and fail if a README does not agree with its figures, or holds one that nobody measured.
    """
    paths = [Path(folder) for folder in folders] or card_folders()
    if not paths:
        raise UserError("there are no recipe folders here: name some")
    if check:
        wrong = [fault for path in paths for fault in faults(path)]
        if wrong:
            raise UserError("; ".join(wrong))
    else:
        for path in paths:
            state = "not measured yet" if unmeasured(path) else "rendered" if update_card(path) else "up to date"
            print_safely(f"{path / README}: {state}")

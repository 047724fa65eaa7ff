import re
from pathlib import Path
from typing import Any

import pytest

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.evaluation.card import BEGIN, END, README, faults, number, rendered, typed_figures, update_card
from mmgen.store.results import read
from tests.figures import append

HOW: dict[str, Any] = dict(data="digits val", samples=1000, seed=0, seconds=61.2, extractor="digits_cnn")
PLAIN = HOW | {"extractor": None}
PROSE = "# A recipe\n\nWhat it is.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe with two commands' figures: two modes, then one of them guided."""
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / README).write_text(PROSE)
    for mode, steps, value in (("ar", 49, 0.5), ("masked", 12, 0.25)):
        for metric in ("class_accuracy", "fid"):
            append(recipe, metric, value, mode=mode, steps=steps, command="mmgen evaluate runs/x", **HOW)
    guided = {"settings": "cfg 3.0", "command": "mmgen evaluate runs/x --cfg 3.0"}
    append(recipe, "fid", 0.125, mode="ar", steps=49, **guided, **HOW)
    return recipe


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_table_says_what_the_results_say(folder: Path) -> None:
    assert update_card(folder)
    text = (folder / README).read_text()
    assert text.startswith(PROSE)
    head, _, *rows = rows_of(text)
    metrics = ["`fid_digits_cnn` ↓", "`class_accuracy_digits_cnn` ↑"]
    assert head == ["data", "mode", "steps", "settings", *metrics, "command"]
    assert rows == [
        ["digits val", "ar", "49", "", "0.5", "0.5", "1"],
        ["digits val", "masked", "12", "", "0.25", "0.25", "1"],
        ["digits val", "ar", "49", "cfg 3.0", "0.125", "", "2"],
    ]


def test_every_figure_leads_to_its_command_machine_and_commit(folder: Path) -> None:
    text = rendered(folder)
    origins = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    for figure in read(folder):
        row = next(row for row in rows_of(text) if number(figure.value) in row and (figure.mode or "") in row)
        origin = origins[row[-1]]
        where = (f"`{figure.command}`", figure.machine, figure.commit, figure.date)
        assert all(part in origin for part in (*where, "1,000 samples, seed 0", "61 s"))


def test_the_protocol_of_a_command_stands_below_it_once(tmp_path: Path) -> None:
    reference = {"data": "photos", "split": "val", "count": 1200, "sha256": "0123456789abcdef"}
    protocol = {"crop": "none", "n": 1000, "seed": 0, "reference": reference}
    command = dict(steps=None, command="mmgen evaluate runs/x")
    append(tmp_path, "fid", 0.5, protocol=protocol | {"resize": "to 299 x 299"}, **command, **HOW)
    append(tmp_path, "psnr_db", 21.5, protocol=protocol, **command, **PLAIN)
    append(tmp_path, "bits_per_dim", 1.23456, protocol=protocol | {"standard_error": 0.0123}, **command, **PLAIN)
    append(tmp_path, "ssim", 0.5, steps=None, command="mmgen evaluate runs/old", **PLAIN)  # of before
    lines = rendered(tmp_path).splitlines()
    number = next(place for place, line in enumerate(lines) if line.startswith("1. "))
    assert lines[number + 1] == (
        "   - crop none; n 1,000; seed 0; reference 1,200 images of photos val, SHA-256 of their pixels"
        " 0123456789abcdef; resize to 299 x 299"
    )
    assert lines[number + 2].startswith("2. `mmgen evaluate runs/old`")
    assert lines[number + 3] == END
    assert "1.235 ± 0.012" in rendered(tmp_path)


def test_rendering_again_changes_nothing_and_keeps_the_words_around_the_table(folder: Path) -> None:
    update_card(folder)
    readme = folder / README
    readme.write_text(readme.read_text() + "\nWhat it taught us.\n")
    before = readme.read_text()
    assert not update_card(folder)
    append(folder, "fid", 0.75, mode="masked", steps=12, command="mmgen evaluate runs/x", **HOW)
    assert update_card(folder)
    after = readme.read_text()
    assert (after.split(BEGIN)[0], after.split(END)[1]) == (before.split(BEGIN)[0], before.split(END)[1])
    assert "0.75" in after
    assert "0.75" not in before


def test_columns_that_nobody_needs_are_left_out(tmp_path: Path) -> None:
    how = HOW | dict(extractor=None, seed=None)
    append(tmp_path, "psnr_db", 21.5, steps=None, command="mmgen evaluate runs/tokenizer", **how)
    text = rendered(tmp_path)
    assert rows_of(text)[0] == ["data", "`psnr_db` ↑", "command"]
    assert "seed" not in text
    assert text.startswith(f"# {tmp_path.name}\n")  # there was no README


def test_check_passes_a_rendered_card_and_catches_a_typed_figure(folder: Path) -> None:
    update_card(folder)
    assert faults(folder) == []
    readme = folder / README
    readme.write_text(readme.read_text().replace("0.125", "0.025"))
    before = readme.read_text()
    assert faults(folder) == [f"{readme} differs from its results.json: run mmgen card {folder}"]
    assert readme.read_text() == before


def test_check_names_each_fault_in_one_line_and_exits_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipes of a checkout: one in order, one whose figures were typed over, one bare."""
    for name in ("good", "typed", "bare"):
        (tmp_path / "experiments" / name).mkdir(parents=True)
        (tmp_path / "experiments" / name / "config.yaml").touch()
    for name in ("good", "typed"):
        append(tmp_path / "experiments" / name, "ssim", 0.5, steps=None, command="mmgen evaluate x", **PLAIN)
    monkeypatch.setattr("mmgen.evaluation.card.recipes_root", lambda: tmp_path)
    assert main(["card"]) == 2  # the bare one has nothing to render
    assert "bare has no figures" in capsys.readouterr().err
    typed = tmp_path / "experiments" / "typed" / README
    for name in ("good", "typed"):
        update_card(tmp_path / "experiments" / name)
    typed.write_text(typed.read_text().replace("0.5", "0.9"))
    assert main(["card", "--check"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "good" not in printed
    for fault in ("typed/README.md differs", "bare has no results.json", "bare has no README.md"):
        assert fault in printed


def test_the_command_takes_folders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for state in ("rendered", "up to date"):
        assert main(["card", str(folder)]) == 0
        assert capsys.readouterr().out == f"{folder / README}: {state}\n"


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("PSNR is 21.3 here.", True),
        ("class accuracy: 90 %", True),
        ("precision 0.8", True),
        ("`mmgen evaluate x` gives the FID; the paper has 5 blocks.", False),
        ("Published FID: 2.5 ([paper](https://arxiv.org/abs/2202.04200)).", False),
        ("`fid 2.5`", False),
        ("The learning rate is 0.001.", False),
    ],
)
def test_what_counts_as_a_typed_figure(line: str, typed: bool) -> None:
    assert bool(typed_figures(f"# Title\n{line}\n")) == typed


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_broken_markers_are_named_and_nothing_is_written(folder: Path, text: str) -> None:
    (folder / README).write_text(text)
    with pytest.raises(UserError, match="markers"):
        update_card(folder)
    assert (folder / README).read_text() == text


def test_a_folder_without_figures_is_told_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mmgen evaluate RUN --card"):
        update_card(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(490, "490"), (0.98765, "0.9877"), (0.00012345, "0.0001234"), (0, "0"), (-0.5, "-0.5"), (12345.6, "12346")],
)
def test_numbers_keep_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_recipe_that_nobody_has_run_says_so_until_it_has_figures(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# big\n\nWhat it is.\n\nNot measured yet: nobody has run it.\n")
    assert faults(tmp_path) == []
    readme.write_text(readme.read_text() + "\nIts FID is 2.31.\n")
    (fault,) = faults(tmp_path)
    assert "typed figure" in fault
    readme.write_text("# big\n\nWhat it is.\n\nNot measured yet: nobody has run it.\n")
    append(tmp_path, "ssim", 0.5, steps=None, command="mmgen evaluate x", **PLAIN)
    update_card(tmp_path)
    assert "Not measured yet" not in readme.read_text() and faults(tmp_path) == []

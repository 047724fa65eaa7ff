from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mmgen.apps.cli.main import main
from mmgen.evaluation.card import README, faults, update_card
from mmgen.evaluation.curves import FILE, drawing
from mmgen.store.results import read
from tests.figures import append

HOW: dict[str, Any] = dict(data="clips val", samples=8, seed=0, steps=4, seconds=1.0, command="mmgen evaluate runs/x")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recipe with two modes' predictions by frame, a rollout's drift by window, and a figure without a list."""
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    for mode, values in (("ar", [20.0, 18.0, 15.0]), ("block", [21.0, 20.5, 19.0])):
        how = {"per_frame": values, "first_frame": 4, "trained_frames": 6}
        append(recipe, "psnr_db", sum(values) / 3, mode=mode, protocol=how, **HOW)
        how = {"per_window": [1.0, 2.0], "per_window_real": [0.5, 0.4], "window": 3, "first_frame": 4}
        append(recipe, "drift", 1.0, mode=mode, extractor="pixels", protocol=how, **HOW)
    append(recipe, "ssim", 0.5, mode="ar", protocol={"n": 8}, **HOW)
    return recipe


def lines_of(svg: str) -> list[list[list[str]]]:
    """Panels, each with the texts of its labels and the points of its lines."""
    root = ElementTree.fromstring(svg)
    return [
        [
            [each.text or "" for each in panel.iter(f"{SVG}text")],
            [p.get("points", "") for p in panel.iter(f"{SVG}polyline")],
        ]
        for panel in root.iter(f"{SVG}g")
    ]


def test_each_metric_with_lists_has_a_panel_and_each_mode_a_line(folder: Path) -> None:
    svg = drawing(read(folder))
    assert svg is not None
    (psnr_texts, psnr_lines), (drift_texts, drift_lines) = lines_of(svg)
    assert psnr_texts[0] == "psnr_db" and drift_texts[0] == "drift_pixels: distance by window"
    assert psnr_texts[-2:] == ["ar", "block"] and "trained so far" in psnr_texts
    assert len(psnr_lines) == 2 and len(drift_lines) == 3  # the real clips stand there once
    assert drift_texts[-3:] == ["ar", "ar: real clips", "block"]
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in psnr_lines]
    assert all(line == sorted(line) for line in heights)  # lower values lie further down
    assert all(b < a for a, b in zip(*heights))
    starts = [line.split()[0].split(",")[0] for line in psnr_lines]
    assert starts[0] == starts[1]


def test_the_card_embeds_the_curves_and_keeps_lists_out_of_its_words(folder: Path) -> None:
    assert update_card(folder)
    text = (folder / README).read_text()
    assert f"]({FILE})" in text
    assert "per_frame" not in text and "18.0" not in text and "per_window" not in text
    assert faults(folder) == [] and not update_card(folder)


@pytest.mark.parametrize("change", ["typed", "missing"])
def test_check_catches_curves_that_are_not_of_the_results(
    folder: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    update_card(folder)
    file = folder / FILE
    if change == "typed":
        file.write_text(file.read_text().replace("block", "best"))
    else:
        file.unlink()
    assert main(["card", "--check", str(folder)]) == 2
    assert f"{file} differs from its results.json: run mmgen card {folder}" in capsys.readouterr().err
    assert main(["card", str(folder)]) == 0
    assert main(["card", "--check", str(folder)]) == 0


def test_without_lists_there_is_no_file_and_one_that_is_left_is_told(tmp_path: Path) -> None:
    append(tmp_path, "ssim", 0.5, **HOW)
    update_card(tmp_path)
    assert not (tmp_path / FILE).exists() and FILE not in (tmp_path / README).read_text()
    (tmp_path / FILE).write_text("<svg/>")
    assert faults(tmp_path) == [f"{tmp_path / FILE} differs from its results.json: delete {tmp_path / FILE}"]


def test_lines_are_told_apart_by_no_more_than_it_takes(tmp_path: Path) -> None:
    for settings in (None, "rollout 4"):
        append(tmp_path, "ssim", 0.5, mode="ar", settings=settings, protocol={"per_frame": [0.5, 0.4]}, **HOW)
    append(tmp_path, "psnr_db", 9.0, mode="ar", protocol={"per_frame": [9.0]}, **HOW)
    append(tmp_path, "psnr_db", 9.0, mode="ar", protocol={"per_frame": [9.0]}, **(HOW | {"steps": 8}))
    append(tmp_path, "psnr_db", 9.0, protocol={"per_frame": [9.0, 9.0]}, **(HOW | {"steps": None, "data": "a <b> & c"}))
    append(tmp_path, "psnr_db", 9.0, protocol={"per_frame": [9.0, 9.0]}, **(HOW | {"steps": None}))
    svg = drawing(read(tmp_path))
    assert svg is not None
    (ssim, _), (psnr, _) = lines_of(svg)
    assert ssim[-2:] == ["ar", "ar, rollout 4"]
    assert psnr[-4:] == [
        "ar, 4 steps, clips val",
        "ar, 8 steps, clips val",
        "reconstruction, a <b> & c",
        "reconstruction, clips val",
    ]

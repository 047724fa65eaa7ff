"""Every mistake of a user ends in one line that names the place and the mend, exit code 2, and nothing written over."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.media.images import save_png
from tests.tiny_runs import generator_run, tokenizer_run


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # so that the copies below name the tokenizer beside them
        tokenizer = tokenizer_run(Path("tok"))
        generator_run(Path("gen"), tokenizer)
        generator_run(Path("plain"), tokenizer, classes=0)
        generator_run(Path("bare"), None)
    return folder


@pytest.fixture
def place(tmp_path: Path, templates: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with runs, images and results that somebody needs."""
    shutil.copytree(templates, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    save_png(torch.zeros(1, 8, 8), Path("fits.png"))
    save_png(torch.zeros(1, 9, 8), Path("large.png"))
    Path("text.png").write_text("no image")
    save_png(torch.linspace(-1, 1, 64).view(1, 8, 8), Path("cut.png"))
    os.truncate("cut.png", 50)
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("three years of work")
    return tmp_path / "work"


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def refuse(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that a command ends with."""
    before = fingerprint(place)
    code = main(line.split())
    told = capsys.readouterr()
    assert code == 2
    assert re.fullmatch(r"mmgen: error: [^\n]+\n", told.err), told.err
    assert "Traceback" not in told.err
    assert fingerprint(place) == before, "files changed"
    return told.err


def truncate(path: str) -> Callable[[], None]:
    def cut() -> None:
        os.truncate(path, os.path.getsize(path) // 2)

    return cut


def misspell() -> None:
    config = yaml.safe_load(Path("gen/config.yaml").read_text())
    config["model"]["init_args"]["paradigm"]["class_path"] = "mmgen.paradigms.Mixtur"
    Path("gen/config.yaml").write_text(yaml.safe_dump(config))


def nothing() -> None:
    pass


CASES = {
    # what is wrong: (how it comes about, command, what the line must say)
    "no such run": (nothing, "sample runs/nowhere --mode ar", "runs/nowhere does not exist"),
    "no such tokenizer": (nothing, "reconstruct nowhere fits.png", "nowhere does not exist"),
    "never trained": (lambda: shutil.rmtree("gen/checkpoints"), "sample gen --mode ar", "gen was never trained"),
    "tokenizer never trained": (
        lambda: shutil.rmtree("tok/checkpoints"),
        "reconstruct tok fits.png",
        "mmgen fit --config",
    ),
    "truncated checkpoint": (
        truncate("gen/checkpoints/last.ckpt"),
        "sample gen --mode ar",
        "gen/checkpoints/last.ckpt is truncated",
    ),
    "truncated tokenizer": (
        truncate("tok/checkpoints/last.ckpt"),
        "sample gen --mode ar",
        "last.ckpt is truncated or corrupt",
    ),
    "config with a wrong class": (misspell, "sample gen --mode ar", "gen/config.yaml: there is no class"),
    "tokenizer for generator": (nothing, "sample tok --mode ar", "tok is a tokenizer, but a generator is needed"),
    "generator for tokenizer": (nothing, "reconstruct gen fits.png", "gen is a generator, but a tokenizer is needed"),
    "no tokenizer": (nothing, "sample bare --mode ar", "bare has no tokenizer"),
    "tokenizer moved away": (lambda: shutil.rmtree("tok"), "sample gen --mode ar", "is not there"),
    "mode not trained": (nothing, "sample gen --mode mask", "it was for: ar, masked, block; did you mean 'masked'?"),
    "mode not given": (nothing, "sample gen", "choose --mode ar or masked or block"),
    "class out of range": (
        nothing,
        "sample gen --mode ar --class 3",
        "class 3 is out of range: gen knows classes 0 to 2",
    ),
    "class below the range": (nothing, "sample gen --mode ar --class=-1", "gen knows classes 0 to 2"),
    "class unknown": (nothing, "sample gen --mode ar --class thre", "class 'thre' is unknown"),
    "class of a model without": (nothing, "sample plain --mode ar --class 1", "trained without classes"),
    "guidance of a model without": (nothing, "sample plain --mode ar --cfg 2", "--cfg 2.0 cannot guide plain"),
    "no steps": (nothing, "sample gen --mode masked --steps 0", "steps 0 must be at least 1"),
    "no samples": (nothing, "sample gen --mode masked --num 0", "--num 0"),
    "no batch": (nothing, "sample gen --mode masked --batch 0", "--batch 0"),
    "steps not a number": (nothing, "sample gen --mode masked --steps many", "many"),
    "top_p out of range": (nothing, "sample gen --mode masked --top_p 1.5", "top_p 1.5 must lie in"),
    "order unknown": (nothing, "sample gen --mode masked --order sideways", "sideways"),
    "option unknown": (nothing, "sample gen --mode masked --stepz 3", "did you mean '--steps'?"),
    "device unknown": (nothing, "sample gen --mode masked --device toaster", "--device toaster is not available"),
    "out holds something": (
        nothing,
        "sample gen --mode ar --num 1 --out full",
        "full is not empty, and nothing is overwritten",
    ),
    "out is a file": (nothing, "sample gen --mode ar --num 1 --out fits.png", "fits.png is a file"),
    "out below a file": (nothing, "sample gen --mode ar --num 1 --out fits.png/x", "cannot be made"),
    "out cannot be made": (nothing, "sample gen --mode ar --num 1 --out /proc/mmgen/x", "cannot be made"),
    "kept image of another size": (
        nothing,
        "sample gen --mode ar --inpaint large.png --keep_region 0:2",
        "is 8x9 pixels, but 8x8 are expected; --resize",
    ),
    "kept region not a region": (
        nothing,
        "sample gen --mode ar --inpaint fits.png --keep_region left",
        "region 'left' must be ROWS",
    ),
    "kept region out of order": (
        nothing,
        "sample gen --mode ar --inpaint fits.png --keep_region 2:",
        "cannot see the kept position",
    ),
    "kept image without region": (nothing, "sample gen --mode ar --inpaint fits.png", "--inpaint needs --keep_region"),
    "kept region without image": (nothing, "sample gen --mode ar --keep_region 0:2", "--keep_region needs --inpaint"),
    "image of another size": (
        nothing,
        "reconstruct tok fits.png large.png",
        "large.png is 8x9 pixels, but 8x8 are expected",
    ),
    "not an image": (nothing, "reconstruct tok text.png", "text.png is not an image"),
    "image cut short": (nothing, "reconstruct tok cut.png", "cut.png is a damaged image"),
    "image missing": (nothing, "reconstruct tok gone.png", "image gone.png does not exist"),
    "no image": (nothing, "reconstruct tok", "files"),
    "reconstructions over something": (nothing, "reconstruct tok fits.png --out full", "full is not empty"),
    "export over something": (nothing, "export gen --out full", "full is not empty"),
    "export of nothing": (nothing, "export nowhere", "nowhere does not exist"),
    "export of a damaged run": (
        truncate("gen/checkpoints/last.ckpt"),
        "export gen --out new",
        "is truncated or corrupt",
    ),
    "command unknown": (nothing, "smaple gen", "did you mean 'sample'?"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_line_names_the_mistake(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, line, told = CASES[name]
    damage()
    assert told in refuse(line, place, capsys)


def test_the_process_ends_with_code_2_and_no_traceback_and_needed_no_lightning(place: Path) -> None:
    program = (
        "import sys; from mmgen.apps.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit('loading needs no lightning' if 'lightning' in sys.modules else code)"
    )
    command = [sys.executable, "-c", program, "sample", "gen", "--mode", "foo"]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root})
    assert done.stderr == "mmgen: error: gen was not trained for --mode foo; it was for: ar, masked, block\n"
    assert done.stdout == ""
    assert done.returncode == 2

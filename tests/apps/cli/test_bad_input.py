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
    output = capsys.readouterr()
    assert code == 2
    assert re.fullmatch(r"mmgen: error: [^\n]+\n", output.err), output.err
    assert "Traceback" not in output.err
    assert fingerprint(place) == before, "files changed"
    return output.err


def misspell() -> None:
    config = yaml.safe_load(Path("gen/config.yaml").read_text())
    config["model"]["init_args"]["paradigm"]["class_path"] = "mmgen.paradigms.Mixtur"
    Path("gen/config.yaml").write_text(yaml.safe_dump(config))


DAMAGES: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no gen": lambda: shutil.rmtree("gen/checkpoints"),
    "no tok": lambda: shutil.rmtree("tok/checkpoints"),
    "moved": lambda: shutil.rmtree("tok"),
    "cut gen": lambda: os.truncate("gen/checkpoints/last.ckpt", 1000),
    "cut tok": lambda: os.truncate("tok/checkpoints/last.ckpt", 1000),
    "misspelt": misspell,
}

# damage : command : what the line must say
CASES = """
: sample runs/nowhere --mode ar : runs/nowhere does not exist
: reconstruct nowhere fits.png : nowhere does not exist
no gen : sample gen --mode ar : gen was never trained
no tok : reconstruct tok fits.png : mmgen fit --config
cut gen : sample gen --mode ar : gen/checkpoints/last.ckpt is truncated
cut tok : sample gen --mode ar : last.ckpt is truncated or corrupt
misspelt : sample gen --mode ar : gen/config.yaml: there is no class
: sample tok --mode ar : tok is a tokenizer, but a generator is needed
: reconstruct gen fits.png : gen is a generator, but a tokenizer is needed
: sample bare --mode ar : bare has no tokenizer
moved : sample gen --mode ar : is not there
: sample gen --mode mask : it was for: ar, masked, block; did you mean 'masked'?
: sample gen : choose --mode ar or masked or block
: sample gen --mode ar --class 3 : gen: --class 3 is out of range: known are 0 to 2
: sample gen --mode ar --class=-1 : --class -1 is out of range
: sample gen --mode ar --class thre : class 'thre' is unknown
: sample plain --mode ar --class 1 : trained without class: leave --class out
: sample plain --mode ar --cfg 2 : --cfg 2.0 cannot guide plain
: sample gen --mode masked --steps 0 : steps 0 must be at least 1
: sample gen --mode masked --num 0 : --num 0
: sample gen --mode masked --batch 0 : --batch 0
: sample gen --mode masked --steps many : many
: sample gen --mode masked --top_p 1.5 : top_p 1.5 must lie in
: sample gen --mode masked --order sideways : sideways
: sample gen --mode masked --stepz 3 : did you mean '--steps'?
: sample gen --mode masked --device toaster : --device toaster is not available
: sample gen --mode ar --num 1 --out full : full is not empty, and nothing is overwritten
: sample gen --mode ar --num 1 --out fits.png : fits.png is a file
: sample gen --mode ar --num 1 --out fits.png/x : cannot be made
: sample gen --mode ar --num 1 --out /proc/mmgen/x : cannot be made
: sample gen --mode ar --inpaint large.png --keep_region 0,2 : is 8x9 pixels, but 8x8 are expected; --resize
: sample gen --mode ar --inpaint fits.png --keep_region left : region 'left' must be ROWS
: sample gen --mode ar --inpaint fits.png : --inpaint needs --keep_region
: sample gen --mode ar --keep_region left : --keep_region needs --inpaint
: reconstruct tok fits.png large.png : large.png is 8x9 pixels, but 8x8 are expected
: reconstruct tok text.png : text.png is not an image
: reconstruct tok cut.png : cut.png is a damaged image
: reconstruct tok gone.png : image gone.png does not exist
: reconstruct tok : files
: reconstruct tok fits.png --out full : full is not empty
: export gen --out full : full is not empty
: export nowhere : nowhere does not exist
cut gen : export gen --out new : is truncated or corrupt
: smaple gen : did you mean 'sample'?
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_one_line_names_the_mistake(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, line, words = (part.strip() for part in case.split(":", 2))
    DAMAGES[damage]()
    assert words in refuse(line, place, capsys)


def test_a_region_that_the_order_cannot_keep_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "sample gen --mode ar --inpaint fits.png --keep_region 2:"
    assert "cannot see the kept position" in refuse(line, place, capsys)


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

"""A disk that is full ends a command in one line, with nothing partial left, and the same command then works.

Here it is the system's limit on the size of a file, which refuses a write as a full disk does.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.core.disk import disk_error
from mmgen.core.errors import UserError
from mmgen.media.folders import require_new_file, whole_file, whole_folder, write_whole
from mmgen.media.images import save_png
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from tests.data_modules import data_section
from tests.tiny_runs import AR, generator_run, tokenizer_run


@contextmanager
def small_disk(size: int = 100) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, a generator, an image, what it is compressed to, and data."""
    home = tmp_path_factory.mktemp("home")
    tokenizer = tokenizer_run(home / "tokenizer")
    generator_run(home / "generator", tokenizer, paradigm=AR)
    save_png(torch.rand(1, 8, 8) * 2 - 1, home / "image.png")
    data = data_section("ImageFolder", image_size=8, channels=1, **ImageFolder.make_fake(home / "photos"))
    (home / "data.yaml").write_text(yaml.safe_dump({"data": data}))
    assert main(["compress", str(home / "generator"), str(home / "image.png"), "--out", str(home / "small")]) == 0
    return home


COMMANDS = {
    "export": "export {}/generator --out OUT",
    "sample": "sample {}/generator --num 2 --npz --out OUT",
    "sample into a folder that was there": "sample {}/generator --num 2 --out OUT",
    "reconstruct": "reconstruct {}/tokenizer {}/image.png {}/image.png --out OUT",
    "reconstruct held-out": "reconstruct {}/tokenizer --data {}/data.yaml --out OUT",
    "tokenize": "tokenize {}/tokenizer --data {}/data.yaml --out OUT",
    "shards": "shards {}/data.yaml --out OUT",
    "compress": "compress {}/generator" + 60 * " {}/image.png" + " --out OUT",
    "decompress": "decompress {}/generator {}/small --tokens TOKENS --out OUT",
    "report": "report {}/generator --out OUT/report.html",
    "masks": "masks causal --out OUT/mask.png",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_a_command_in_one_line(
    name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, text = tmp_path / "out", COMMANDS[name].replace("{}", str(home))
    if "OUT/" in text or "was there" in name:
        out.mkdir()
    words = text.replace("OUT", str(out)).replace("TOKENS", str(tmp_path / "tokens")).split()
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    with small_disk():
        assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("mmgen: error: ")
    assert line.count("\n") == 1
    assert os.strerror(27) in line  # file too large
    assert sorted(tmp_path.rglob("*")) == before
    assert main(words) == 0
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_signal_leaves_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of commands that write for long."""
    encode, calls = ConvImageTokenizer.encode, iter(range(100))

    def encoded(self: ConvImageTokenizer, x: torch.Tensor) -> object:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return encode(self, x)

    monkeypatch.setattr(ConvImageTokenizer, "encode", encoded)
    options = ["--data", str(home / "data.yaml"), "--out", str(tmp_path / "out")]
    assert main(["tokenize", str(home / "tokenizer"), *options, "--batch=2", "--shard_size=2"]) == 143
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the next one that writes in that place; a folder that is being filled is none."""
    for out in (tmp_path / "new", tmp_path / "old"):
        if out.name == "old":
            out.mkdir()
        code = (
            "import os, sys; from mmgen.media.folders import whole_folder\n"
            "with whole_folder(sys.argv[1]) as folder:\n"
            "    (folder / 'part').write_text('half'); os.kill(os.getpid(), 9)"
        )
        root = Path(__file__).parents[3]
        assert subprocess.run([sys.executable, "-c", code, str(out)], cwd=root).returncode == -9
    (left,) = tmp_path.glob(".new.*")
    with whole_folder(tmp_path / "new") as folder, whole_folder(tmp_path / "third"):
        (folder / "whole").write_text("all of it")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["whole"]
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == 2 * [f"note: {left} was left by a command that was killed: rm -r {left}"]
    with (
        pytest.raises(UserError, match=r"holds what a command that was killed has left: rm -r .*/old/\.old"),
        whole_folder(tmp_path / "old"),
    ):
        pass


def test_a_file_is_replaced_at_one_stroke(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_whole(file, b"old")
    with small_disk(), pytest.raises(OSError, match="too large"):
        write_whole(file, bytes(1000))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
    write_whole(file, bytes(1000), sync=True)
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_libraries_that_hide_the_number_of_an_error() -> None:
    assert disk_error(RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert disk_error(OSError("1000 requested and 60 written"))
    outer = RuntimeError("cannot save")
    outer.__context__ = OSError(28, "No space left on device")
    assert disk_error(outer) == "No space left on device"
    assert disk_error(FileNotFoundError(2, "No such file")) is None


def test_what_a_killed_command_left_of_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".12345678.partial").write_text("half")
    with whole_file(tmp_path / "being written"):
        require_new_file(tmp_path / "new", "--out")
    left = tmp_path / ".12345678.partial"
    assert capsys.readouterr().err == f"note: {left} was left by a command that was killed: rm -r {left}\n"


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    code = "import sys; from mmgen.apps.cli.main import main; sys.exit(main(['list']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[3], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "mmgen: error: No space left on device; make room, and start the command again\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = "import sys; from mmgen.apps.cli.main import main; sys.exit(main(['list']))"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{code}" | head -1; echo ${{PIPESTATUS[0]}}'],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] in ("0", "141")
    assert done.stderr == ""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Hostile compressed files: refused in a line, with memory and time bounded by what the file may hold at most."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgen.core.errors import UserError
from mmgen.store.store import Loaded, load_generator
from mmgen.tools.compression import compress, decompress
from mmgen.tools.compression.container import _FIXED, LARGEST, LARGEST_BATCH, Container, parse
from tests.fuzz.mutation import fuzz, mutated, refused
from tests.tiny_runs import AR, generator_run, tokenizer_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compressed")
    return generator_run(folder / "gen", tokenizer_run(folder / "tok"), paradigm=AR)


@pytest.fixture(scope="module")
def loaded(run: Path) -> Loaded:
    return load_generator(run)


@pytest.fixture(scope="module")
def tokens(loaded: Loaded) -> torch.Tensor:
    return torch.randint(0, loaded.spec.alphabet, (5, loaded.spec.length), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole(loaded: Loaded, tokens: torch.Tensor) -> bytes:
    return compress(loaded, tokens, torch.tensor([-1, 0, 1, 2, 0]), batch=2).data


def signed(data: bytes) -> bytes:
    return data + zlib.crc32(data).to_bytes(4, "little")


def decode(data: bytes, loaded: Loaded) -> torch.Tensor | None:
    """What it holds; None where it is refused in a line."""
    found: list[torch.Tensor] = []
    refused(lambda: found.append(decompress(loaded, parse(data))[0]), UserError)
    return found[0] if found else None


@fuzz(100)
@given(data=st.binary(max_size=500), start=st.integers(0, 80), right=st.booleans())
def test_made_up_bytes(data: bytes, start: int, right: bool, loaded: Loaded, whole: bytes) -> None:
    made = whole[:start] + data
    decode(signed(made) if right else made, loaded)


@fuzz(100)
@given(draw=st.data(), right=st.booleans())
def test_a_changed_file(draw: st.DataObject, right: bool, loaded: Loaded, whole: bytes, tokens: torch.Tensor) -> None:
    """Also with a checksum that fits: never another picture than the one that went in, unless its own checksum fits."""
    made = draw.draw(mutated(whole[:-4], 60))
    found = decode(signed(made) if right else made + whole[-4:], loaded)
    if found is not None and not right:
        assert found.equal(tokens)


@fuzz(40)
@given(draw=st.data())
def test_a_changed_code_with_all_checksums_right(draw: st.DataObject, loaded: Loaded, whole: bytes) -> None:
    """The range coder itself, on words that no encoder wrote."""
    container = parse(whole)
    size = draw.draw(st.integers(0, 30))
    code = draw.draw(st.binary(min_size=4 * size, max_size=4 * size))
    forged = Container(**vars(container) | {"code": code})
    assert parse(forged.to_bytes()) == forged
    decode(forged.to_bytes(), loaded)


def test_the_largest_claims_take_little_memory(run: Path, whole: bytes, tmp_path: Path) -> None:
    """A file of a hundred bytes that claims the most images that a file may hold, in a process of its own that decodes
    for two seconds: it takes 300 MiB at most beyond what the model takes.
    """
    container = parse(whole)
    claims = Container(
        **vars(container) | {"labels": (-1,) * (LARGEST // 16), "batch": LARGEST_BATCH, "code": b"\xff" * 40}
    )
    (tmp_path / "claims.mmg").write_bytes(claims.to_bytes())
    assert (tmp_path / "claims.mmg").stat().st_size < _FIXED.size + 100
    code = (
        "import resource, sys, time; from mmgen.tools.compression import decompress, read_container;"
        "from mmgen.core.errors import UserError; from mmgen.store.store import load_generator\n"
        "class Enough(Exception): pass\n"
        "def progress(done):\n"
        "    if time.monotonic() - began > 2: raise Enough\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "loaded = load_generator(sys.argv[1]); before = peak(); began = time.monotonic()\n"
        "try: decompress(loaded, read_container(sys.argv[2]), progress=progress)\n"
        "except (UserError, Enough): pass\n"
        "print(peak() - before)"
    )
    command = [sys.executable, "-c", code, str(run), str(tmp_path / "claims.mmg")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 < 300

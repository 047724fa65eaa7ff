"""docs/trust.md says how often; here it is counted."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "trust.md").read_text()


def soak(variable: str) -> int:
    found = re.search(rf"{variable}=(\d+)", (ROOT / "Makefile").read_text())
    assert found
    return int(found[1])


NAMES = sorted(path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "counts"])
def test_the_examples_are_as_many_as_the_documents_say(name: str) -> None:
    text = (Path(__file__).parent / f"test_{name}.py").read_text()
    quick = sum(int(number) for number in re.findall(r"^@fuzz\((\d+)\)", text, re.MULTILINE))
    assert f"`tests/fuzz/test_{name}.py` | {quick:,} examples | {quick * soak('MMGEN_FUZZ'):,} examples |" in TABLE


def test_the_kills_are_as_many() -> None:
    default = re.search(r'"MMGEN_KILLS", "(\d+)"', (ROOT / "tests/soak/test_kills.py").read_text())
    assert default
    assert f"`tests/soak/test_kills.py` | {default[1]} of each | {soak('MMGEN_KILLS')} of each |" in TABLE

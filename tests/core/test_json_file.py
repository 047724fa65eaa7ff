"""JSON of others: read in one place, where a mistake in it is one line."""

import re
import tracemalloc
from pathlib import Path

import pytest

import mmgen
from mmgen.core import json_file
from mmgen.core.errors import UserError
from mmgen.core.json_file import parse_json, read_json


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    for coding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.json").write_bytes('{"a": ["é", 1]}'.encode(coding))
        assert read_json(tmp_path / "a.json") == {"a": ["é", 1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ('{"a": 1,\n}', "Expecting property name enclosed in double quotes, line 2"),
        ("[" * 200_000, "it is nested too deep"),
        ('{"a":' * 200_000, "it is nested too deep"),
        ("9" * 5000, "it has a number of thousands of digits"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' is there twice"),
        ("[]\0", "this is no text in UTF-8"),
    ],
)
def test_a_mistake_is_one_line_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_json(tmp_path / "a.json", "record ")
    assert str(caught.value).startswith(f"record {tmp_path / 'a.json'}") and "\n" not in str(caught.value)


def test_lists_of_nothing_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "LARGEST", 2**20)
    bomb = "[" + "[]," * 2**20 + "0]"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it has 3,145,731 characters"):
            parse_json(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_no_file_is_parsed_elsewhere() -> None:
    """But those that mmgen wrote for itself alone."""
    root = Path(mmgen.__file__).parent
    files = [file for file in root.rglob("*.py") if "apps" not in file.parts]
    assert [file for file in files if re.search(r"json\.loads?\([^)]*read_", file.read_text())] == []

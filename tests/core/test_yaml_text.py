"""YAML whose plain reading would hide something is refused, with its line; all else is read as usual."""

import math
from pathlib import Path

import pytest
import yaml

from mmgen.core.errors import UserError
from mmgen.core.yaml_text import parse_yaml, read_yaml

HIDES = {
    "a key twice": ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands on line 1 too; keep one of them"),
    "a key twice, far down": ("t:\n  m: {x: 1,\n      'x': 2}\n", "line 3: the key 'x' stands on line 2 too"),
    "an octal number": ("a:\n  seed: 010\n", "line 2: YAML reads 010 as 8; write that number, or quote a text"),
    "a number to the base 60": ("a: 1:30\n", "line 1: YAML reads 1:30 as 90"),
    "a fraction to the base 60": ("a: 1:30.5\n", "line 1: YAML reads 1:30.5 as 90.5"),
    "a merge": ("a: &a {x: 1}\nb: {<<: *a, x: 2}\n", "line 2: merge keys (<<) are not read"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: expected a single document"),
    "a tag": ("a: !!python/name:os.system x\n", "line 1: tag:yaml.org,2002:python/name:os.system is no plain value"),
    "bytes": ("a: !!binary aGk=\n", "line 1: tag:yaml.org,2002:binary is no plain value"),
    "a set": ("a: !!set {x, y}\n", "line 1: tag:yaml.org,2002:set is no plain value"),
    "a type that is not its own": ("a: !!bool maybe\n", "a value is not of the type that stands before it"),
    "a number as a key": ("a:\n  1: x\n", "line 2: the key 1 is no text; put it in quotes"),
    "a yes as a key": ("yes: x\n", "line 1: the key yes is no text"),
    "nothing as a key": ("a: {~: x}\n", "line 1: the key ~ is no text"),
    "a list as a key": ("[a, b]: x\n", "line 1: the key that is a list or a mapping is no text"),
    "5,000 digits": (f"a:\n- {'7' * 5000}\n", f"line 2: the number {'7' * 20}... is larger than any"),
    "5,000 digits to the base 16": (f"a: -0x{'f' * 5000}\n", "line 1: the number -0xfffffffffffffffff... is larger"),
    "a number that is infinite": ("a: 1e999\n", "line 1: the number 1e999 is larger than any"),
    "a list within itself": ("a: &a [1, *a]\n", "line 1: *a stands within itself"),
    "lists of lists of lists": (f"a: {'[' * 5000}{']' * 5000}\n", "line 1: more than 60 levels deep"),
    "names of names": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(20)),
        "line 5: more than 100,000 values",
    ),
    "a large file": ("a" * (2**22 + 1), "it is larger than 4 MiB"),
    "a bracket left open": ("a: [1, 2\n", "line 2: while parsing a flow sequence"),
}


@pytest.mark.parametrize(("text", "message"), HIDES.values(), ids=HIDES.keys())
def test_what_yaml_hides_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        parse_yaml(text, "recipe.yaml")
    assert str(refusal.value).startswith(f"recipe.yaml cannot be read: {message}")
    assert "\n" not in str(refusal.value)


def test_plain_values() -> None:
    text = "lr: 1e-3\nsize: 1_000\nhex: 0x10\nnone: 0\ntime: '00:30'\nclock: 08:30\nquoted: '010'\nlist: [1, .5]\n"
    text += "day: 2024-05-01\nmoment: 2024-05-01T10:00:00Z\nshared: &s [1]\nagain: *s\nlargest: .inf\n"
    wanted = {"lr": 0.001, "size": 1000, "hex": 16, "none": 0, "time": "00:30", "clock": "08:30", "quoted": "010"}
    assert parse_yaml(text, "") == wanted | {
        "list": [1, 0.5], "day": "2024-05-01", "moment": "2024-05-01T10:00:00Z", "shared": [1], "again": [1],
        "largest": math.inf,
    }  # fmt: skip


def test_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text("a: é\n", encoding=encoding)
        assert read_yaml(file) == {"a": "é"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"a: \xff\xfe\x00")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "bytes"):
        with pytest.raises(UserError, match=f"^{path} cannot be read: "):
            read_yaml(path)


def test_what_is_written_is_read() -> None:
    values = {"1:30": "010", "a": [0.1, 1e-5, "no", None, True, "1:30", "é\u2028"]}
    assert parse_yaml(yaml.safe_dump(values), "") == values


def test_no_other_place_reads_yaml() -> None:
    files = {path for path in Path("mmgen").rglob("*.py") if "safe_load" in path.read_text()}
    assert not files, "read YAML by mmgen.core.yaml_text, which refuses what it hides"

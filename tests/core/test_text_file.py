"""Text files of others: how they are decoded, where lines end, and that nothing else in the package decides it."""

import gzip
from pathlib import Path

import pytest

import mmgen
from mmgen.core import text_file
from mmgen.core.errors import UserError
from mmgen.core.text_file import decode_text, read_lines, read_text, split_lines

INSIDE = ("\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e")
"""Characters within a line, at which `str.splitlines` ends it."""


def test_lines_end_as_in_text_files_everywhere() -> None:
    assert split_lines("a\nb\r\nc\rd\n\ne") == ["a", "b", "c", "d", "", "e"]
    assert split_lines("") == []
    assert split_lines("a\n") == split_lines("a") == ["a"]
    for character in INSIDE:
        assert split_lines(f"a{character}b\n") == [f"a{character}b"]
        assert len(f"a{character}b".splitlines()) == 2


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_to_decode(coding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße\nzwei\n".encode(coding))
    assert read_lines(tmp_path / "a.txt") == ["Grüße", "zwei"]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_of_either_order(mark: bytes) -> None:
    assert decode_text(mark + "aé".encode("utf-16-le" if mark[0] == 255 else "utf-16-be"), "x") == "aé"


def test_the_mark_of_an_appended_file_is_no_part_of_its_first_line() -> None:
    assert split_lines("\ufeffa\n\ufeffb\n") == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"fine\nnot \xe9\n", "name, line 2: this is not UTF-8 (byte 0xe9)"),
        (b"\xef\xbb\xbffine\nnot \xe9\n", "name, line 2: this is not UTF-8 (byte 0xe9)"),
        ("two\nlines".encode("utf-16-le"), "name, line 1: this is no text in UTF-8 (it holds a NUL)"),
        (b"\xff\xfea", "name, line 1: this is not UTF-16 (byte 0x61)"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_text(data, "name")
    assert str(caught.value) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(UserError, match=r"transcript .* cannot be read") as caught:
            read_text(path, "transcript ")
        assert "\n" not in str(caught.value)


def test_gzipped_texts_and_those_that_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert read_lines(packed) == ["one", "two"]
    packed.write_bytes(gzip.compress(b"one\ntwo\n")[:-9])
    with pytest.raises(UserError, match="cannot be read"):
        read_text(packed)
    for name in ("LARGEST", "LARGEST_PACKED"):
        monkeypatch.setattr(text_file, name, 2**20)
    packed.write_bytes(gzip.compress(bytes(2**20 + 1)))
    (tmp_path / "long.txt").write_bytes(b"a" * (2**20 + 1))
    for path in (packed, tmp_path / "long.txt", Path("/dev/zero")):
        with pytest.raises(UserError, match="it has more than 1 MiB"):
            read_text(path)
    (tmp_path / "long.txt").write_bytes(b"a" * 2**20)
    assert len(read_text(tmp_path / "long.txt")) == 2**20


def test_nothing_else_decides_where_the_lines_of_data_end() -> None:
    """Only messages of errors are cut by `str.splitlines`."""
    root = Path(mmgen.__file__).parent
    files = [file for name in ("media", "data", "sampling", "modalities") for file in (root / name).rglob("*.py")]
    cut = (line for file in files for line in file.read_text().splitlines() if ".splitlines(" in line)
    found = [line for line in cut if "str(error)" not in line]
    assert files and not found

import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgen.core.errors import UserError
from mmgen.tools.compression.container import LARGEST, MAGIC, Container, parse, read_container

CONTAINER = Container(
    "0123456789abcdef", "fedcba9876543210", "ar", "bits", 12, (1, 4, 4), 3, (-1, 0, 2, 1), 123, b"code" * 10
)
FIXED = 48  # bytes before the mode's name


def signed(data: bytes) -> bytes:
    """With the checksum that makes it pass for whole."""
    return data + zlib.crc32(data).to_bytes(4, "little")


def refused(data: bytes) -> str:
    """The error that parsing ends with; empty if it is read."""
    try:
        parse(data)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("labels", [(-1,), (-1, -1, -1), (0,), (254, -1), (255, 3), (70_000, -1, 0)])
def test_round_trip(labels: tuple[int, ...]) -> None:
    made = Container("00" * 8, "ff" * 8, "ä", "categorical", 4096, (2, 3, 4), 64, labels, 2**32 - 1, b"")
    assert parse(made.to_bytes()) == made


def test_the_header_is_short() -> None:
    assert len(CONTAINER.to_bytes()) == FIXED + len("ar") + 4 + 40 + 4
    without = Container("00" * 8, "ff" * 8, "ar", "bits", 8, (1, 7, 7), 64, (-1,) * 1000, 0, b"")
    assert len(without.to_bytes()) == FIXED + len("ar") + 4


def test_any_byte_changed_or_missing_is_told_in_one_line(tmp_path: Path) -> None:
    data = CONTAINER.to_bytes()
    bad = [data[:end] for end in range(len(data))] + [data + b"\0", data + data, b"", b"\x89PNG\r\n\x1a\n" * 20]
    bad += [data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :] for at in range(len(data)) for flip in (1, 128, 255)]
    for number, each in enumerate(bad):
        with pytest.raises(UserError, match=r"\Ax\.mmg [^\n]+\Z"):
            parse(each, "x.mmg")
        if number % 10 == 0:
            (tmp_path / "y.mmg").write_bytes(each)
            with pytest.raises(UserError, match=r"\A.*y\.mmg [^\n]+\Z"):
                read_container(tmp_path / "y.mmg")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    data = CONTAINER.to_bytes()
    cases = {
        b"": "is empty",
        b"GIF89a" * 30: "no file of mmgen compress",
        MAGIC + b"\x09" + data[5:]: "version 9 of the format",
        data[:20]: "ends within the header",
        data[:-1]: "truncated or corrupt",
        data[:-9] + b"x" + data[-8:]: "its checksum does not match",
    }
    for each, words in cases.items():
        with pytest.raises(UserError, match=words):
            parse(each)
    for path, words in ((tmp_path, "directory"), (tmp_path / "none.mmg", "No such file")):
        with pytest.raises(UserError, match=words):
            read_container(path)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(4, FIXED - 1), value=st.integers(0, 255), seed=st.integers(0, 9))
def test_a_forged_header_with_a_right_checksum(at: int, value: int, seed: int) -> None:
    made = bytearray(CONTAINER.to_bytes()[:-4])
    made[at] = value
    for _ in range(seed % 3):
        made[random.Random(seed).randrange(4, FIXED)] = value
    if refused(signed(bytes(made))):
        return
    found = parse(signed(bytes(made)))
    assert found.images * found.grid[0] * found.grid[1] * found.grid[2] <= LARGEST
    assert 1 <= found.batch <= 1024


def test_absurd_counts_take_no_memory(tmp_path: Path) -> None:
    """Each count at its largest, in a file that is small or has holes."""
    data = CONTAINER.to_bytes()[:-4]
    for at, length in ((FIXED - 12, 4), (FIXED - 8, 4), (FIXED - 18, 6), (7, 2)):  # images, code, grid, batch
        forged = data[:at] + b"\xff" * length + data[at + length :]
        (tmp_path / "x.mmg").write_bytes(signed(forged))
        tracemalloc.start()
        with pytest.raises(UserError):
            read_container(tmp_path / "x.mmg")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
    with open(tmp_path / "holes.mmg", "wb") as file:
        file.write(data)
        file.truncate(2**33)
    tracemalloc.start()
    with pytest.raises(UserError):
        read_container(tmp_path / "holes.mmg")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()

"""Arrays of other programs: what a header claims is compared with the file before memory is taken for it."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from mmgen.core import arrays
from mmgen.core.arrays import open_array, read_arrays
from mmgen.core.errors import UserError

X = np.arange(24, dtype=np.float32).reshape(4, 6)


def claim(shape: tuple[int, ...], descr: str = "|u1", data: bytes = b"") -> bytes:
    """A .npy file whose header says so, with other data behind it."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


CLAIMS = {
    "10^12 images": claim((10**12, 32, 32, 3), data=bytes(3072)),
    "more than 64 bits": claim((10**30,), data=b"x"),
    "below none": claim((-4, -6), "<f4", X.tobytes()),
    "texts without characters": claim((10**12,), "<U0"),
    "many texts without characters": claim((2**16, 2**16), "<U0"),
    "places without bytes": claim((10**12, 0, 0, 3)),
    "one text of all memory": claim((1,), f"<U{2**28}"),
    "fewer than there are": claim((3, 6), "<f4", X.tobytes()),
    "a header of 4 GiB": b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + b"{",
    "a header of blanks": b"\x93NUMPY\x02\x00" + (2**20).to_bytes(4, "little") + b"{" + b" " * 2**20,
    "objects": claim((1,), "|O", b"cos\nsystem\n"),
    "no array": b"text",
    "nothing": b"",
}

Read = Callable[[Path, bytes], np.ndarray]


def in_npz(folder: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> np.ndarray:
    with zipfile.ZipFile(folder / "x.npz", "w", compression) as archive:
        archive.writestr("x.npy", data)
    return read_arrays(folder / "x.npz", ["x"])["x"]


def packed(folder: Path, data: bytes) -> np.ndarray:
    return in_npz(folder, data, zipfile.ZIP_DEFLATED)


def in_npy(folder: Path, data: bytes) -> np.ndarray:
    (folder / "x.npy").write_bytes(data)
    return open_array(folder / "x.npy")


READERS = [in_npz, packed, in_npy]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("array", [X, np.asfortranarray(X), X[:0], X[0, 0], X.astype(">i2")])
def test_an_array_comes_back(read: Read, array: np.ndarray, tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, array)
    back = read(tmp_path, file.getvalue())
    assert back.dtype == array.dtype and np.array_equal(back, array)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_is_refused_before_memory_is_taken(read: Read, what: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"x\.np. is no (array, or a damaged one|readable)") as caught:
            read(tmp_path, CLAIMS[what])
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_a_bomb_of_zeros_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = claim((2**24,), data=bytes(2**24))
    assert len(packed(tmp_path, zeros)) == 2**24  # which is little
    monkeypatch.setattr(arrays, "_SMALL", 2**20)
    with pytest.raises(UserError, match=r"x\.npy of 1.,... bytes is said to unpack to 16,777,344"):
        packed(tmp_path, zeros)
    noise = np.random.default_rng(0).integers(0, 4, 2**21, dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", x=noise)
    assert np.array_equal(read_arrays(tmp_path / "x.npz", ["x"])["x"], noise)


def test_a_directory_of_a_million_names_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_DIRECTORY", 2**16)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for number in range(1500):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(UserError, match=r"a header of .* bytes"):
        read_arrays(tmp_path / "x.npz", ["x"])


def test_damage_is_found_by_its_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[data.index(X.tobytes()) + 5] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UserError, match="Bad CRC-32"):
        read_arrays(tmp_path / "x.npz", ["x"])
    (tmp_path / "x.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a zip file"):
        read_arrays(tmp_path / "x.npz", ["x"])


def test_a_parser_that_was_entered_twice_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the interpreter is no fault of the file."""
    read, raised = npy.read_array_header_1_0, []

    def once(*args: object, **options: object) -> object:
        if not raised:
            raised.append(True)
            raise SystemError("AST constructor recursion depth mismatch (before=87, after=94)")
        return read(*args, **options)  # type: ignore[arg-type]

    np.save(tmp_path / "x.npy", np.arange(6.0))
    monkeypatch.setattr(npy, "read_array_header_1_0", once)
    assert open_array(tmp_path / "x.npy").tolist() == list(range(6)) and raised

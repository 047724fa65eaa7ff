"""Damaged and made-up arrays and lists of transcripts: read, counted or refused in a line."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

from mmgen.core.arrays import open_array, read_arrays
from mmgen.core.errors import UserError
from mmgen.modalities.speech.sources.transcripts import find_utterances
from tests.fuzz.mutation import fuzz, mutated, refused

MOST = 2**26  # bytes that reading any of these may take


def _npz(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in ("x", "y"):
            array = io.BytesIO()
            np.save(array, np.arange(12, dtype=np.int32).reshape(3, 4))
            archive.writestr(f"{name}.npy", array.getvalue())
    return file.getvalue()


ARCHIVES = [_npz(zipfile.ZIP_STORED), _npz(zipfile.ZIP_DEFLATED)]
HEADERS = st.fixed_dictionaries(
    {
        "descr": st.sampled_from(["<f4", "|u1", "<U0", "<U3", "|S0", "|b1", "<c16", ">i8", "|O", "<M8[s]", "|V9"]),
        "fortran_order": st.booleans(),
        "shape": st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**16, 10**12, 2**64]), max_size=4).map(tuple),
    }
)  # fmt: skip


def _made_up(header: dict[str, object], data: bytes) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, header)
    return file.getvalue() + data


@fuzz(80)
@given(
    archive=st.sampled_from(ARCHIVES).flatmap(lambda whole: mutated(whole, len(whole))),
    array=st.one_of(
        st.builds(_made_up, HEADERS, st.binary(max_size=40)),
        mutated(_made_up({"descr": "<f4", "fortran_order": False, "shape": (2, 3)}, bytes(24)), 128),
    ),
)
def test_arrays(archive: bytes, array: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.npz").write_bytes(archive)
    (folder / "a.npy").write_bytes(array)
    with zipfile.ZipFile(folder / "b.npz", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x.npy", array)
    tracemalloc.start()
    try:
        refused(lambda: read_arrays(folder / "a.npz", ["x"], optional=["y"]), UserError)
        refused(lambda: read_arrays(folder / "b.npz", ["x"]), UserError)
        refused(lambda: open_array(folder / "a.npy").sum(), UserError)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


LINES = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(["a", "b", "wavs/a.wav", "a.wav", "/x/wavs/b", "..", "./a", "b\\a", "hi", "\ufeffa", ""]),
            st.text(max_size=6),
        ),
        max_size=6,
    ).flatmap(lambda cells: st.sampled_from(["|", "\t", " ", ","]).map(lambda separator: separator.join(cells))),
    max_size=8,
)  # fmt: skip


@fuzz(60)
@given(
    lines=LINES,
    name=st.sampled_from(["metadata.csv", "transcripts.txt", "transcripts.tsv"]),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    coding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)
def test_lists_of_transcripts(
    lines: list[str], name: str, ends: str, coding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "listed"
    sounds = ["wavs/a.wav", "wavs/b.wav", "wavs/deep/a.wav"]
    if not folder.exists():
        for sound in sounds:
            (folder / sound).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / sound, np.zeros(800), 8000)
    for old in (*folder.glob("*.csv"), *folder.glob("*.t?*")):
        old.unlink()
    (folder / name).write_bytes(ends.join(lines).encode(coding, "replace"))
    read: list[list[str]] = []
    refused(lambda: read.append([each.name for each in find_utterances(folder)]), UserError)
    assert read in ([], [sounds])

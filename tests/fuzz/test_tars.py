"""Damaged and made-up .tar shards, also with checksums that fit: read, left aside or refused in a line."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.modalities.image.sources.tar_index import INDEX
from mmgen.modalities.image.sources.web_dataset import WebDataset
from tests.fuzz.mutation import EXTREMES, fuzz, mutated, refused

BLOCK = 512


def _png() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((8, 8), 80).save(file, "PNG")
    return file.getvalue()


def _shard(form: int) -> bytes:
    """Every kind of entry: images, texts, both kinds of links, a folder, long names, attributes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for number in range(4):
            long = f"{'long' * 30}/{number}.txt"
            for name, data in ((f"{number}.png", _png()), (f"{number}.cls", b"%d" % (number % 2)), (long, b"x")):
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = len(data), {"comment": "a" * 20}
                tar.addfile(info, io.BytesIO(data))
        for name, kind, target in (
            ("5.png", b"2", "0.png"), ("5.cls", b"1", "0.cls"), ("6.png", b"1", "1.png"), ("6.cls", b"2", "1.cls"),
            ("d", b"5", ""),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return file.getvalue()


SHARDS = [_shard(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
FIELDS = {"name": 0, "size": 124, "type": 156, "link": 157, "magic": 257, "prefix": 345, "sparse": 386}
SIZES = [b"00000000000\0", b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1\0", b"0000000200\0", b"x"]
TYPES = [bytes([each]) for each in b"0123456789ABCDKLMNSVXgx\0\xff"]


def sealed(data: bytes) -> bytes:
    """With the checksum that each of its headers should have."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    for number, block in enumerate(blocks):
        if block[257:262] == b"ustar":
            blank = block[:148] + b" " * 8 + block[156:]
            blocks[number] = block[:148] + b"%06o\0 " % (sum(blank) & 0o777777) + block[156:]
    return b"".join(blocks)


changes = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.sampled_from(sorted(FIELDS)),
        st.one_of(st.sampled_from([*SIZES, *TYPES, *EXTREMES]), st.binary(max_size=12)),
    ),
    min_size=1,
    max_size=3,
)


def changed(data: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    """A shard with other fields in some of its blocks, headers or not."""
    whole = bytearray(data)
    for block, field, value in edits:
        at = block * BLOCK % len(data) + FIELDS[field]
        whole[at : at + len(value)] = value
    return bytes(whole[: len(data)])


@fuzz(80)
@given(
    data=st.sampled_from(SHARDS).flatmap(
        lambda whole: st.one_of(mutated(whole, 2000), changes.map(lambda edits: changed(whole, edits)))
    ),
    fitting=st.booleans(),
    joined=st.booleans(),
)
def test_shards(data: bytes, fitting: bool, joined: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "shards"
    folder.mkdir(exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    data = sealed(data) if fitting else data
    (folder / "0.tar").write_bytes(SHARDS[0] + data if joined else data)
    _read(folder)


@fuzz(40)
@given(draw=st.data())
def test_indexes(draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "indexed"
    if not folder.exists():
        folder.mkdir()
        (folder / "0.tar").write_bytes(SHARDS[0])
        WebDataset(folder, image_size=8, held_out=2)
        (folder / "whole").write_bytes((folder / INDEX).read_bytes())
    whole = (folder / "whole").read_bytes()
    (folder / INDEX).write_bytes(draw.draw(mutated(whole, len(whole))))
    _read(folder)


def _read(folder: Path) -> None:
    sources: list[WebDataset] = []
    refused(lambda: sources.append(WebDataset(folder, image_size=8, held_out=2)), UserError)
    for source in sources:
        _ = source.caption_vocabulary
        for split in ("train", "val"):
            samples = source.samples(split)  # type: ignore[arg-type]
            refused(lambda samples=samples: samples.take(torch.arange(len(samples))), UserError)

"""Shards that others packed: which files belong together, which are the same, and what is said of all others."""

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.modalities.image.sources import tar_file, tar_samples
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.sources.tar_index import INDEX
from mmgen.modalities.image.sources.tar_write import write_shards
from mmgen.modalities.image.sources.web_dataset import WebDataset
from tests.fuzz.mutation import refused

Entry = tuple[str, bytes | tarfile.TarInfo]


def red(value: int, form: str = "PNG") -> bytes:
    """An image whose first pixel says which it is."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(file, form, **({"quality": 100} if form == "JPEG" else {}))
    return file.getvalue()


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def pack(path: Path, entries: Sequence[Entry], mode: str = "w", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo() if isinstance(content, bytes) else content
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def pairs(*numbers: int, label: int | None = None) -> list[Entry]:
    """KEY.png whose red is ten times the key, with KEY.cls: whether it is odd, or one for all."""
    entries: list[Entry] = []
    for each in numbers:
        text = str(each % 2 if label is None else label).encode()
        entries += [(f"{each}.png", red(10 * each)), (f"{each}.cls", text)]
    return entries


def read(root: Path, **options: Any) -> list[tuple[int, int]]:
    """(red of the first pixel, label) of every sample, in order of the numbers."""
    source = WebDataset(root, image_size=8, **({"held_out": 2} | options))
    rows: list[tuple[int, int, int]] = []
    for split in ("train", "val"):
        samples = source.samples(split)  # type: ignore[arg-type]
        batch = samples.take(torch.arange(len(samples)))
        pixel = ((batch["x"][:, 0, 0, 0] + 1) * 127.5).round().int()
        rows += zip(batch["sample"].tolist(), pixel.tolist(), batch["label"].tolist())
    return [(pixel, label) for _, pixel, label in sorted(rows)]


RIGHT = [(0, 0), (10, 1), (20, 0), (30, 1)]


def test_labels_that_stand_apart_from_their_images_are_joined_by_the_key(tmp_path: Path) -> None:
    entries = pairs(0, 1, 2, 3)
    pack(tmp_path / "0.tar", entries[::2] + entries[1::2])
    assert read(tmp_path) == RIGHT
    pack(tmp_path / "0.tar", entries[1::2] + entries[::2][::-1])  # labels first, images in another order
    assert read(tmp_path) == RIGHT


def test_labels_in_another_shard_are_refused(tmp_path: Path) -> None:
    entries = pairs(0, 1, 2)
    pack(tmp_path / "0.tar", entries[::2])
    pack(tmp_path / "1.tar", entries[1::2])
    with pytest.raises(
        UserError, match=r"no image has a label, and 3 label\(s\) have no image, such as 0\.cls in 1\.tar"
    ):
        read(tmp_path)


def test_links_are_the_files_that_they_lead_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries: list[Entry] = [("0.png", red(0)), ("0.cls", b"0")]
    entries += [("1.png", link(tarfile.LNKTYPE, "0.png")), ("1.cls", link(tarfile.LNKTYPE, "./0.cls"))]
    entries += [("2.png", link(tarfile.SYMTYPE, "later.png")), ("2.cls", b"1"), ("later.png", red(50))]
    entries += [("later.cls", b"1"), ("deep/3.png", link(tarfile.SYMTYPE, "../2.png")), ("deep/3.cls", b"0")]
    entries += [("4.png", link(tarfile.SYMTYPE, "../originals/4.png")), ("4.cls", b"0")]
    entries += [("5.png", link(tarfile.SYMTYPE, "5.png")), ("6.png", link(tarfile.LNKTYPE, "/etc/passwd"))]
    pack(tmp_path / "0.tar", entries)
    assert read(tmp_path) == [(0, 0), (0, 0), (50, 1), (50, 1), (50, 0)]
    assert caplog.messages == [
        f"{tmp_path}: 4 left aside: 3 link(s) to what the shard does not hold (4.png in 0.tar, to ../originals/4.png),"
        " 1 label(s) without an image (4.cls in 0.tar)"
    ]


def test_archives_that_were_joined_are_read_to_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [pack(tmp_path / f"{n}.part", pairs(n, 9, label=n)).read_bytes() for n in range(3)]
    (tmp_path / "0.tar").write_bytes(b"".join(parts))
    assert read(tmp_path) == [(0, 0), (90, 0), (10, 1), (90, 1), (20, 2), (90, 2)]
    whole = (tmp_path / "0.tar").read_bytes()
    for keep in (len(parts[0]) + 700, len(parts[0]) + 1024, len(whole) - 9000):
        (tmp_path / "0.tar").write_bytes(whole[:keep])
        with pytest.raises(UserError, match=r"0\.tar is truncated or damaged"):
            read(tmp_path)
    caplog.clear()
    (tmp_path / "0.tar").write_bytes(parts[0] + b"no archive" * 100)
    assert read(tmp_path) == [(0, 0), (90, 0)]
    assert "1 shard(s) that go on behind their end with something else (0.tar)" in caplog.text


def test_what_is_packed_or_no_shard_is_named_beside_those_that_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(tmp_path / "0.tar", pairs(0, 1))
    pack(tmp_path / "1.TAR", pairs(2, 3))
    pack(tmp_path / "2.tar.gz", pairs(4), "w:gz")
    pack(tmp_path / "more" / "3.tar", pairs(5))
    (tmp_path / "._0.tar").write_bytes(b"not a tar")
    os.mkfifo(tmp_path / "pipe.tar")
    assert read(tmp_path) == RIGHT
    assert caplog.messages == [
        f"{tmp_path}: 4 left aside: 1 hidden file(s) (._0.tar), 1 file(s) with the suffix .gz (2.tar.gz),"
        " 1 folder(s) (more), 1 pipe(s), socket(s) or device(s) (pipe.tar)"
    ]
    (tmp_path / "2.tar.gz").rename(tmp_path / "2.tar")
    with pytest.raises(UserError, match="it is packed by gzip: unpack it"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("entries", "right", "reported"),
    [
        pytest.param(
            [(f"v1.0_{name}", data) for name, data in pairs(0, 1, 2, 3)],
            RIGHT,
            "4 sample(s) with a dot in the key (v1.0_0.png in 0.tar)",
            id="dots in keys",
        ),
        pytest.param(
            [("0.image.png", red(0)), ("0.cls", b"1"), ("0.mask.png", red(9)), ("1.image.png", red(1)), ("1.cls", b"1"),
             ("1.mask.png", red(9))],
            [(0, 1), (1, 1)],
            "2 left aside: 2 second image(s) of a sample (0.mask.png in 0.tar, beside 0.image.png)",
            id="images with a part of the sample in their names",
        ),
        pytest.param(
            [*pairs(0, 1), ("0.m.png", red(99)), ("1.npy", b"x"), ("._1.png", b"x")],
            RIGHT[:2],
            "3 left aside: 1 hidden file(s) (._1.png in 0.tar), 1 file(s) with the suffix .m.png (0.m.png in 0.tar), 1"
            " file(s) with the suffix .npy (1.npy in 0.tar)",
            id="other files of a key",
        ),
        pytest.param(
            [("0.jpg", red(200, "JPEG")), ("0.png", red(5)), ("0.cls", b"1"), *pairs(1)],
            [(200, 1), (10, 1)],
            "1 second image(s) of a sample (0.png in 0.tar, beside 0.jpg)",
            id="two images of a key",
        ),
        pytest.param(
            [*pairs(0, label=0), ("0.png", red(90)), ("0.cls", b"1")],
            [(0, 0), (90, 1)],
            "1 sample(s) with the name of another one (0.png in 0.tar)",
            id="a key twice in a row",
        ),
        pytest.param(
            [*pairs(0, 1), ("0.cls", b"1"), ("0.png", red(90))],
            [(0, 0), (90, 1), (10, 1)],
            "1 sample(s) with the name of another one (0.png in 0.tar)",
            id="a key twice, apart",
        ),
        pytest.param(
            [*pairs(0, 1), ("1.json", b'{"width": 8}')],
            RIGHT[:2],
            "1 left aside: 1 JSON file(s) without a label or a caption (1.json in 0.tar)",
            id="JSON that says something else",
        ),
        pytest.param(
            [*pairs(0, 1), ("caf\udce9\n\x1b.npy", b"x")],
            RIGHT[:2],
            r"1 left aside: 1 file(s) with the suffix .npy (caf\xe9\n\x1b.npy in 0.tar)",
            id="names with odd bytes",
        ),
        pytest.param(
            [*pairs(0, 1), ("1.json", b"[1, 2]")],
            RIGHT[:2],
            "1 left aside: 1 JSON file(s) without an object (1.json in 0.tar)",
            id="JSON of other things",
        ),
    ],
)  # fmt: skip
def test_what_is_guessed_or_left_aside_is_counted(
    entries: list[Entry], right: object, reported: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(tmp_path / "0.tar", entries)
    for _ in range(2):  # also when the index in the folder is read
        caplog.clear()
        assert read(tmp_path) == right
        assert [message.endswith(reported) for message in caplog.messages] == [True]
        assert (tmp_path / INDEX).is_file()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [("0.png", red(1)), ("0.png", red(2)), ("0.cls", b"1")],
            r"0\.png is there 2 time.* cannot be told which belong",
        ),
        (
            [("0.png", red(1)), ("0.cls", b"1"), ("0.cls", b"2")],
            r"0\.cls 2 time.* cannot be told which belong together",
        ),
        ([("0.png", red(1)), ("0.cls", b"1"), ("0.json", b'{"cls": 2}')], r"0\.cls has the label 1 and 0\.json .* 2"),
        ([("0.png", red(1)), ("0.cls", b"caf\xe9")], r"0\.cls, line 1: this is not UTF-8 \(byte 0xe9\)"),
        ([("0.png", red(1)), ("0.cls", b"1_0")], r"0\.cls: the label '1_0' is no number from 0"),
        ([("0.png", red(1)), ("0.cls", "１".encode())], r"0\.cls: the label '１' is no number from 0"),
        ([("0.png", red(1)), ("0.cls", b"9" * 9)], r"0\.cls: the label 999999999 is no number from 0 to 1,048,576"),
        ([("0.png", red(1)), ("0.cls", b"9" * 5000)], r"0\.cls: the label '9+ is no number"),
        ([("0.png", red(1)), ("0.json", b'{"cls": 1, "cls": 2}')], r"0\.json: the key 'cls' is there twice"),
        ([("0.png", red(1)), ("0.json", b'{"label": true}')], r"0\.json: the label True is no number"),
        ([("0.png", red(1)), ("0.json", b"[" * 10**5)], r"0\.json: it is nested too deep"),
        ([("0.png", red(1)), ("0.json", b" " * (2**22 + 1))], r"0\.json has 4,194,305 bytes"),
    ],
)
def test_texts_that_say_nothing_certain_are_refused(entries: list[Entry], message: str, tmp_path: Path) -> None:
    pack(tmp_path / "0.tar", [*entries, *pairs(8, 9)])
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    pack(tmp_path / "1.tar", pairs(0, 1))
    assert read(tmp_path, bad_shards="skip") == RIGHT[:2]


# What headers claim.


def claim(data: bytes, at: int, field: bytes) -> bytes:
    """A tar with another field in its first header, whose checksum fits."""
    head = bytearray(data[:512])
    head[at : at + len(field)] = field
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


@pytest.mark.parametrize(
    "size",
    [b"77777777777\0", b"\x80" + (2**62).to_bytes(11, "big"), b"\xff" + b"\xff" * 9 + b"\xfe\0"],
    ids=["octal", "2^62", "negative"],
)
@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K", b"5", b"1"])
def test_sizes_that_the_file_does_not_have_end_in_a_line(size: bytes, kind: bytes, tmp_path: Path) -> None:
    data = pack(tmp_path / "0.tar", pairs(0, 1)).read_bytes()
    (tmp_path / "0.tar").write_bytes(claim(claim(data, 124, size), 156, kind))
    rows: list[tuple[int, int]] = []
    refused(lambda: rows.extend(read(tmp_path)), UserError)
    assert set(rows) <= set(RIGHT)


def test_a_header_takes_no_more_memory_than_headers_need(tmp_path: Path) -> None:
    note = tarfile.TarInfo()
    note.pax_headers = {"comment": "x" * (2**20 - 100)}
    pack(tmp_path / "0.tar", [("0.png", note)], format=tarfile.PAX_FORMAT)
    with pytest.raises(UserError, match=r"a header of 1,048,576 bytes .* are the most"):
        read(tmp_path)


def test_images_beyond_reason_are_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tar_samples, "LARGEST_IMAGE", 2**20)
    pack(tmp_path / "0.tar", [*pairs(0, 1), ("2.png", bytes(2**20 + 1))])
    assert read(tmp_path) == RIGHT[:2]
    assert "1 image(s) of more than 1 MiB (2.png in 0.tar)" in caplog.text


def test_zeros_without_end_are_no_padding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_file, "_PADDING", 2**17)
    pack(tmp_path / "0.tar", pairs(0, 1))
    with (tmp_path / "0.tar").open("r+b") as file:
        file.truncate(2**20)
    with pytest.raises(UserError, match="of zeros follow byte"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [("size", 2**62), ("size", -1), ("offset", -1), ("offset", 2**62), ("shard", 1), ("shard", -1), ("label", 2**40)],
)
def test_an_index_of_somebody_else_is_checked_against_the_shards(
    column: str, value: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack(tmp_path / "0.tar", pairs(0, 1, 2, 3))
    assert read(tmp_path) == RIGHT
    with safe_open(tmp_path / INDEX, framework="pt") as file:
        columns, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    for name, changed in {
        column: torch.where(torch.arange(4) == 2, value, columns[column]),
        "names": columns["names"].flip(1),
        "captions": torch.zeros(3, dtype=torch.uint8),
    }.items():
        save_file(columns | {name: changed.contiguous()}, tmp_path / INDEX, metadata)
        caplog.clear()
        assert read(tmp_path) == RIGHT
        assert f"{INDEX} is damaged" in caplog.text and len(caplog.messages) == 1


# Folders of splits, and names of classes.


def test_splits_under_other_names_and_shards_beside_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pack(tmp_path / "Train" / "0.tar", pairs(0, 1))
    pack(tmp_path / "validation" / "0.tar", pairs(2, 3))
    pack(tmp_path / "loose.tar", pairs(4))
    assert read(tmp_path) == RIGHT
    assert caplog.messages == [f"{tmp_path}: 1 shard(s) beside the folder Train are not read (loose.tar)"]


def test_a_blank_line_does_not_shift_the_names_of_classes(tmp_path: Path) -> None:
    pack(tmp_path / "0.tar", pairs(0, 1))
    (tmp_path / "classes.txt").write_text("\ufeffzero\r\none\u2028and more\r\n\r\n")
    assert WebDataset(tmp_path, image_size=8, held_out=2).class_names == ["zero", "one\u2028and more"]
    (tmp_path / "classes.txt").write_text("zero\n\none\n")
    with pytest.raises(UserError, match=r"classes\.txt, line 2: a class has no name"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "back"), [("caf\udce9", r"caf\xe9"), ("Straße", "Straße"), ("a\nb", r"a\nb"), (" a", None)]
)
def test_names_of_classes_come_back_from_shards_or_are_refused(name: str, back: str | None, tmp_path: Path) -> None:
    for folder in (name, "zz"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "images" / folder / f"{number}.png").write_bytes(red(number))
    source = ImageFolder(tmp_path / "images", image_size=8, held_out=2)
    if back is None:
        with pytest.raises(UserError, match=r"class .* cannot be written"):
            write_shards(source, tmp_path / "out", 10)
        assert not (tmp_path / "out").exists()
    else:
        write_shards(source, tmp_path / "out", 10)
        assert WebDataset(tmp_path / "out", image_size=8).class_names == [back, "zz"]

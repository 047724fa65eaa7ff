"""What looks like the end of a line to Python and is none, and byte-order marks, in every text that belongs to data."""

import io
import tarfile
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from mmgen.data.sources.base import Source
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.sources.web_dataset import WebDataset
from mmgen.modalities.motion.sources.motion_folder import read_captions
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.sampling.command import read_texts


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def _captions(source: Source) -> list[str]:
    captions = source.samples("train").captions
    assert captions is not None
    return captions.flat()


def _spoken(folder: Path) -> list[str]:
    source = SpeechFolder(folder, seconds=0.5, held_out=2)
    assert source.text is not None
    return [source.text.normal(text) for text in source.samples("train").texts(torch.arange(1))]


def _sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.linspace(-0.5, 0.5, 4000), 16000)


def beside_an_image(folder: Path, data: bytes) -> list[str]:
    for name in "ab":
        (folder / f"{name}.png").write_bytes(_png())
        (folder / f"{name}.txt").write_bytes(data)
    return _captions(ImageFolder(folder, image_size=8, held_out=2))


def in_a_shard(folder: Path, data: bytes) -> list[str]:
    with tarfile.open(folder / "0.tar", "w") as tar:
        for name, content in (("a.png", _png()), ("a.txt", data), ("b.png", _png()), ("b.txt", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return _captions(WebDataset(folder, image_size=8, held_out=2))


def beside_a_sound(folder: Path, data: bytes) -> list[str]:
    for name in "ab":
        _sound(folder / f"{name}.wav")
        (folder / f"{name}.txt").write_bytes(data)
    return _spoken(folder)


def in_metadata(folder: Path, data: bytes) -> list[str]:
    for name in "ab":
        _sound(folder / "wavs" / f"{name}.wav")
    mark, text = (data[:3], data[3:]) if data.startswith(BOM_UTF8) else (b"", data)
    (folder / "metadata.csv").write_bytes(mark + b"a|" + text + b"b|" + text)
    return _spoken(folder)


def of_a_motion(folder: Path, data: bytes) -> list[str]:
    (folder / "a.txt").write_bytes(data.rstrip(b"\n") + b"#walks/VERB#0.0#0.0\n")
    return [" ".join(each.text.split()) for each in read_captions(folder / "a.txt")]


def of_the_command(folder: Path, data: bytes) -> list[str]:
    (folder / "texts.txt").write_bytes(data)
    return [" ".join(each.split()) for each in read_texts([f"@{folder / 'texts.txt'}"])]


READERS = (beside_an_image, in_a_shard, beside_a_sound, in_metadata, of_a_motion, of_the_command)


@pytest.mark.parametrize("read", READERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("between", ["\u2028", "\x85", "\x0c", "\x1c"], ids=ascii)
def test_a_text_goes_on_behind_what_ends_no_line(
    read: Callable[[Path, bytes], list[str]], between: str, tmp_path: Path
) -> None:
    assert read(tmp_path, f"one two{between}three\n".encode()) == ["one two three"]


@pytest.mark.parametrize("read", READERS, ids=lambda each: each.__name__)
def test_a_byte_order_mark_is_no_character_of_a_text(read: Callable[[Path, bytes], list[str]], tmp_path: Path) -> None:
    assert read(tmp_path, BOM_UTF8 + b"one\n") == ["one"]

"""Sound files through libsndfile: how many samples there are, and reading them.

What a header says of its length is a claim. Here it is checked against the file, once, for the look-through and for
reading alike, and a length that is not known, as of what a pipe wrote, is counted.
"""

import mmap
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mmgen.core.errors import UserError, require
from mmgen.media import mpeg_audio
from mmgen.media.spliced import SplicedFile

BLOCK = 2**18  # samples of all channels that are decoded at once
_ANY = 2**24  # samples that a file of any size may hold
_DENSEST = 128  # samples a byte of a larger one: Opus at 6 kbit/s has 64
_UNKNOWN = 2**61  # frames, and more: libsndfile says so of a length that is not known
_RATES = 1000, 2**20  # Hz that are read
_SAFE = 32 * 1152  # samples before a stretch of MP3 from which on it is decoded: no frame needs those further back
_LARGEST_PAGE, _LAPPED = 65307, 8192  # bytes of an Ogg page at most; samples of the longest block of Vorbis
_FLAC_HEAD, _FLAC_TOTAL = 42, 21  # bytes up to the end of STREAMINFO; where the lower 36 bits are its samples

# What libsndfile logs of a header that claims more than there is.
_CLAIMS = re.compile(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_RF64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_STARTS = {"OGG": b"OggS\0\2", "FLAC": b"fLaC\0\0\0\x22"}  # of a stream
_NO_END = "without an End-Of-Stream flag", "lacks an end-of-stream bit"
_PIPES = (0x7F000000, 0x7FFFF000, 2**31, 2**32)  # bytes that programs claim, more or less, which write into a pipe
_NEAR = 2**16


def import_soundfile() -> ModuleType:
    """soundfile, which is optional and slow to import. Raises UserError where it is not installed."""
    try:
        import soundfile
    except ModuleNotFoundError:
        raise UserError("audio files need the package soundfile: pip install 'mmgen[speech]'") from None
    return soundfile


@dataclass(frozen=True)
class SoundInfo:
    """Samples of each channel that there are, samples a second, channels (1 for mono), whether they are floats, and the
    state of the file, which differs where it was changed.
    """

    samples: int
    sample_rate: int
    channels: int
    floats: bool
    state: tuple[int, ...]


def sound_info(path: str | Path) -> SoundInfo:
    """What a sound file holds.

    Raises:
        UserError: it is missing, empty, no sound or a damaged one, cut off, or says what cannot be.
    """
    return _info(os.fspath(path), _state(path))


def read_blocks(path: str | Path, info: SoundInfo, begin: int, count: int) -> Iterator[np.ndarray]:
    """The samples of a file from number `begin` on, `count` at most, as arrays (n, channels) float32. A stretch holds
    what the whole does there. Raises UserError as `sound_info`, or where it is damaged within.
    """
    done, count = 0, min(count, info.samples - begin)
    for seeking in (True, False):  # where a decoder loses its way, all is decoded from the beginning
        if done < count:
            for block in _stretch(path, info, begin + done, count - done, seeking):
                done += len(block)
                yield block


def _stretch(path: str | Path, info: SoundInfo, begin: int, count: int, seeking: bool) -> Iterator[np.ndarray]:
    with _opened(path) as (file, _):
        at = _safe_start(path, file, info, begin) if seeking else 0
        if not _seek(file, at):
            at = 0
        try:
            for block in _decode(file, begin + count - at):
                part = block[max(0, begin - at) :]
                at += len(block)
                if len(part):
                    yield part
        except import_soundfile().SoundFileRuntimeError:
            if not seeking:
                raise


def _safe_start(path: str | Path, file: Any, info: SoundInfo, begin: int) -> int:
    """The sample at which to begin decoding, so that from `begin` on there is what the whole has there."""
    if file.subtype.startswith("MPEG"):
        return max(0, begin - _SAFE)
    if file.subtype == "VORBIS":  # libsndfile misses the place where it lies in the last page
        with open(path, "rb") as opened:
            opened.seek(max(0, info.state[0] - 2 * _LARGEST_PAGE))
            pages = opened.read().split(b"OggS")[1:]
        ends = [int.from_bytes(page[2:10], "little") for page in pages]
        last = ends[-1] - ends[-2] if len(ends) > 1 else info.samples
        return max(0, min(begin, info.samples - last - _LAPPED))
    return begin


@lru_cache(4096)
def _info(path: str, state: tuple[int, ...]) -> SoundInfo:
    with _opened(path) as (file, claim):
        low, high = _RATES
        rate, channels, floats = file.samplerate, file.channels, file.subtype in ("FLOAT", "DOUBLE")
        require(low <= rate <= high, f"{path} says that it has {rate} samples a second; {low} to {high} are read")
        _check_log(path, file)
        _check_claim(path, claim, channels, state[0])
        if claim is not None and _is_whole(file, claim):
            _check_alone(path, file)
            return SoundInfo(claim, rate, channels, floats, state)
    return SoundInfo(_count(path, channels, state[0], claim), rate, channels, floats, state)


def _check_log(path: str, file: Any) -> None:
    """Raises UserError where the header of a sound claims more bytes than the file has, or an Ogg stream has no end."""
    log = file.extra_info
    for match in [*_CLAIMS.finditer(log), *_RF64.finditer(log)]:
        claimed, there = sorted((int(each) for each in match.groups() if each is not None), reverse=True)
        piped = any(abs(claimed - pipe) <= _NEAR for pipe in _PIPES) or claimed > _UNKNOWN
        if claimed - there > 2 and not piped:  # some count a byte of padding
            raise UserError(f"{path} is cut off: it has {file.frames} samples, and its header speaks of more")
    require(not any(each in log for each in _NO_END), f"{path} is cut off: its Ogg stream has no end")


def _check_claim(path: str, claim: int | None, channels: int, size: int) -> None:
    require(claim != 0, f"{path} has no samples")
    if claim is not None and claim * channels > max(_ANY, _DENSEST * size):
        raise UserError(
            f"{path} is damaged: its {size} bytes cannot hold the {claim} samples of which its header speaks"
        )


def _is_whole(file: Any, claim: int) -> bool:
    """Whether the last sample of so many is there, and none after it; of MP3 all frames have been counted."""
    if file.subtype == "MPEG_LAYER_III" and isinstance(file.source, SplicedFile):
        return True
    return _seek(file, claim - 1) and _read_one(file) and not _read_one(file)


def _check_alone(path: str, file: Any) -> None:
    """Raises UserError where another stream follows the one that is read, as in files that were joined by `cat`."""
    with _mapped(path) as data:
        mark = _STARTS.get(file.format, b"")
        if file.format == "OGG":
            several = data.rfind(mark) > data.find(b"OggS\0\0") > 0
        else:
            at = file.source.farthest if isinstance(file.source, SplicedFile) else 0
            several = bool(mark) and data.find(mark, max(_FLAC_HEAD, at - _NEAR), at + _NEAR) > 0
    require(not several, f"{path} holds several streams in a row, of which one would be read: make them one file")


def _read_one(file: Any) -> bool:
    try:
        return len(file.read(1, dtype="float32")) == 1
    except import_soundfile().SoundFileRuntimeError:  # after the last frame there may be tags
        return False


def _count(path: str, channels: int, size: int, claim: int | None) -> int:
    """The samples that are there, by decoding them all."""
    count = 0
    with _opened(path) as (file, _):
        try:
            for block in _decode(file, None):
                count += len(block)
                _check_claim(path, count, channels, size)
        except import_soundfile().SoundFileRuntimeError:
            raise UserError(f"{path} is cut off or damaged after {count} samples") from None
    if claim is not None and count < claim:
        raise UserError(f"{path} is cut off: it has {count} samples, and its header speaks of {claim}")
    require(count > 0, f"{path} has no samples")
    return count


def _decode(file: Any, count: int | None) -> Iterator[np.ndarray]:
    """Blocks of a file from where it stands, `count` samples at most, all for None."""
    most = max(1, BLOCK // file.channels)
    while count is None or count > 0:
        block = file.read(most if count is None else min(most, count), dtype="float32", always_2d=True)
        if not len(block):
            return
        count = None if count is None else count - len(block)
        yield block


def _seek(file: Any, sample: int) -> bool:
    """Whether a file could go to a sample; some codecs only go on."""
    try:
        return file.seek(sample) == sample if file.can_seek else sample == 0
    except import_soundfile().SoundFileRuntimeError:
        return False


@cache
def _reader() -> Any:
    """The class of soundfile that reads in a row: the original seeks after every block, which decoders do not survive
    at the end of what they hold.
    """

    class Reader(import_soundfile().SoundFile):  # type: ignore[misc]  # soundfile has no types
        def __init__(self, source: str | SplicedFile) -> None:
            self.source = source
            super().__init__(source)

        @property
        def can_seek(self) -> bool:
            return bool(super().seekable())

        def seekable(self) -> bool:
            return False

    return Reader


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, int | None]]:
    """A file of soundfile, and the samples that it claims, None where it does not say; whatever soundfile raises within
    becomes a UserError of one line.
    """
    soundfile, name = import_soundfile(), os.fspath(path)
    with ExitStack() as stack:
        try:
            source, claim = _source(name, _state(path), stack)
            file = stack.enter_context(_reader()(source))
            if claim is None:
                claim = file.frames
            yield file, claim if 0 < claim < _UNKNOWN or file.format != "FLAC" else None
        except soundfile.SoundFileRuntimeError as error:
            reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
            reason = f" ({reason})" if reason else ""
            raise UserError(f"{path} is not a sound, or a damaged one{reason}") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror or error})") from None


def _source(path: str, state: tuple[int, ...], stack: ExitStack) -> tuple[str | SplicedFile, int | None]:
    """What libsndfile opens, and the length that a FLAC header claims; None where libsndfile knows it.

    libsndfile reads no further than headers claim. So FLAC is opened without its claim, MP3 with a right one.
    """
    view = stack.enter_context(memoryview(stack.enter_context(_mapped(path))))
    begin = mpeg_audio.tag_end(view, 0)
    head = bytearray(view[begin : begin + _FLAC_HEAD])
    if head[:4] == b"fLaC" and len(head) == _FLAC_HEAD:
        claim = int.from_bytes(head[_FLAC_TOTAL : _FLAC_TOTAL + 5], "big") & (2**36 - 1)
        head[_FLAC_TOTAL] &= 0xF0
        head[_FLAC_TOTAL + 1 : _FLAC_TOTAL + 5] = bytes(4)
        return _spliced([memoryview(head), view[begin + _FLAC_HEAD :]], stack), claim
    if mpeg_audio.is_stream(view) and (frames := _mpeg_frames(path, state)) is not None:
        return _spliced(mpeg_audio.exact_pieces(view, frames), stack), None
    if head[:4] == b"RIFF" and (size := _unfinished(view)):
        return _spliced([view[: size - 4], memoryview(b"\xff" * 4), view[size:]], stack), None
    return path, None


def _unfinished(view: memoryview) -> int:
    """Where the samples of a WAV begin of which the header says that there are none, though there are, as a program
    leaves it that was killed while recording; 0 for any other file.
    """
    at = 12
    while at + 8 < len(view):
        size = int.from_bytes(view[at + 4 : at + 8], "little")
        if bytes(view[at : at + 4]) == b"data":
            return 0 if size else at + 8
        at += 8 + size + size % 2
    return 0


def _spliced(pieces: list[memoryview], stack: ExitStack) -> SplicedFile:
    for piece in pieces:
        stack.enter_context(piece)
    return SplicedFile(pieces)


@lru_cache(1024)
def _mpeg_frames(path: str, state: tuple[int, ...]) -> mpeg_audio.Frames | None:
    with _mapped(path) as data, memoryview(data) as view:
        frames = mpeg_audio.find_frames(view)
    if frames is not None:
        mpeg_audio.check_whole(frames, state[0], path)
    return frames


@contextmanager
def _mapped(path: str) -> Iterator[mmap.mmap]:
    with open(path, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _state(path: str | Path) -> tuple[int, ...]:
    """Bytes, time and number of a file, by which one that was changed is read anew."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    require(not stat.S_ISDIR(about.st_mode), f"{path} is a folder, not a sound")
    require(stat.S_ISREG(about.st_mode), f"{path} is no file, but a pipe, a socket or a device")
    require(about.st_size > 0, f"{path} is not a sound, or a damaged one (it is empty)")
    return about.st_size, about.st_mtime_ns, about.st_ino

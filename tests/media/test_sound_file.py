"""What sound files claim of themselves is checked, and the look-through accepts what reading accepts."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import SOUNDS
from mmgen.media.audio import _resample_slowly, read_audio, read_header, resample
from mmgen.media.mpeg_audio import find_frames

RATE = 16000
WAV_CODECS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM",
              "GSM610", "G721_32", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32")  # fmt: skip
FORMATS = [*(("WAV", codec) for codec in WAV_CODECS), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
           ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AIFF", "DWVW_16"), ("AU", "G723_24"), ("W64", "PCM_16"),
           ("CAF", "ALAC_16"), ("RF64", "PCM_16")]  # fmt: skip


def sweep(seconds: float = 3.0) -> np.ndarray:
    """A sound that repeats nowhere: from tone to noise to silence."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).uniform(-1, 1, len(time))
    return 0.4 * np.sin(600 * time**2) + 0.3 * noise * (time > seconds / 3) * (time < seconds / 1.5)


def write(path: Path, form: str = "WAV", codec: str | None = None, seconds: float = 3.0) -> bytearray:
    soundfile.write(path, sweep(seconds), RATE, format=form, subtype=codec)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(("form", "codec"), FORMATS)
def test_a_stretch_is_what_the_whole_has_there(form: str, codec: str, tmp_path: Path) -> None:
    """Also of codecs that cannot seek, and of MP3, whose frames need those before them."""
    path = tmp_path / "x"
    write(path, form, codec)
    whole = read_audio(path, RATE)
    assert read_header(path).samples == whole.shape[1] >= 3 * RATE
    for start, seconds in ((0.0001, 0.5), (0.31, 0.3), (1.5, 0.71), (2.7, 0.1), (2.9, 9.0)):
        begin = round(start * RATE)
        part = read_audio(path, RATE, start, seconds)
        assert part.shape[1] == min(round(seconds * RATE), whole.shape[1] - begin)
        assert (part - whole[:, begin : begin + part.shape[1]]).abs().max() < 1e-6


WRITTEN_AS = {
    ".aif": "AIFF",
    ".aifc": "AIFF",
    ".aiff": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
    ".flac": "FLAC",
    ".mp3": "MP3",
    ".mpga": "MP3",
    ".nist": "NIST",
    ".oga": "OGG",
    ".ogg": "OGG",
    ".rf64": "RF64",
    ".snd": "AU",
    ".sph": "NIST",
    ".voc": "VOC",
    ".w64": "W64",
}


@pytest.mark.parametrize("suffix", sorted(SOUNDS.suffixes - {".mp2"}))  # which nothing here writes
def test_what_a_folder_of_sounds_lists_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    codec = "OPUS" if suffix == ".opus" else "PCM_16" if WRITTEN_AS.get(suffix, "WAV") not in ("OGG", "MP3") else None
    write(path, "OGG" if suffix == ".opus" else WRITTEN_AS.get(suffix, "WAV"), codec)
    assert read_header(path).samples == read_audio(path, RATE).shape[1] == 3 * RATE


def flac_claiming(data: bytearray, samples: int) -> bytes:
    return bytes(data[:21]) + (data[21] & 0xF0 | samples >> 32).to_bytes(1, "big") + struct.pack(
        ">I", samples & 0xFFFFFFFF) + bytes(data[26:])  # fmt: skip


@pytest.mark.parametrize("claim", [0, 5, 47999])
@pytest.mark.parametrize("before", [b"", b"ID3\4\0\0\0\0\0\x0a" + bytes(10)])
def test_flac_that_knows_no_length_or_less_than_there_is_is_read_whole(
    claim: int, before: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.flac"
    data = write(path, "FLAC")
    right = read_audio(path, RATE)
    path.write_bytes(before + flac_claiming(data, claim))
    assert read_header(path).samples == 48000
    assert read_audio(path, RATE).equal(right)
    assert read_audio(path, RATE, 1.0, 0.5).equal(right[:, 16000:24000])


def test_tags_after_flac_are_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(write(path, "FLAC") + b"TAG" + bytes(125))
    assert read_header(path).samples == read_audio(path, RATE).shape[1] == 48000


def xing(data: bytearray, frames: int) -> bytes:
    """With another count of frames in the first frame."""
    place = data.index(b"Xing") + 8
    return bytes(data[:place]) + struct.pack(">I", frames) + bytes(data[place + 4 :])


def test_mp3_is_as_long_as_its_frames_whatever_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    data = write(path, "MP3")
    right = read_audio(path, RATE)
    frames = find_frames(memoryview(bytes(data)))
    assert frames is not None and frames.count * 576 >= 48000
    first = len(frames.tag)
    middle = find_frames(memoryview(bytes(data[: len(data) // 2]))).runs[0][1]  # type: ignore[union-attr]
    variants = {
        "claims less": xing(data, 20),
        "counts itself": xing(data, frames.count + 1),
        "tags around": b"ID3\4\0\0\0\0\2\1" + b"\xff\xfb" * 128 + b"." + bytes(data) + b"TAG" + bytes(125),
        "junk between": bytes(data[:middle]) + b"junk" * 300 + bytes(data[middle:]),
    }
    for name, variant in variants.items():
        path.write_bytes(variant)
        read = read_audio(path, RATE)
        assert read_header(path).samples == 48000, name
        assert (read - right).abs().max() < 1e-6, name
    path.write_bytes(data[first:])  # without a header the encoder's delay is not known
    read = read_audio(path, RATE)
    assert read_header(path).samples == read.shape[1] >= frames.count * 576 - 1152
    windows = read[0, 20000:30000].unfold(0, 4000, 1)  # the noise, at every delay
    delay = int((windows - right[0, 20000:24000]).abs().mean(1).argmin())
    assert (read[0, 24000 + delay :][:8000] - right[0, 24000:32000]).abs().max() < 1e-4
    path.write_bytes(data[first:] * 2)
    assert read_audio(path, RATE).shape[1] >= 2 * frames.count * 576 - 1152
    path.write_bytes(data * 2)  # as `cat` joins two
    assert read_header(path).samples >= 96000
    assert (read_audio(path, RATE)[:, :40000] - right[:, :40000]).abs().max() < 1e-6


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (16000, 1), (8000, 1)])
@pytest.mark.parametrize(
    ("bits", "tags"), [(None, {}), (64000, {"write_id3v1": "1"}), (8000, {}), (32000, {"write_xing": "0"})]
)
def test_mp3_of_another_encoder(
    rate: int, channels: int, bits: int | None, tags: dict[str, str], tmp_path: Path
) -> None:
    """LAME, of variable and constant bit rates. Without a Xing header its delay and padding are part of the sound."""
    sound = np.float32(np.resize(sweep(), (channels, round(2.5 * rate))))
    layout = "stereo" if channels == 2 else "mono"
    with av.open(tmp_path / "x.mp3", "w", options=tags) as output:
        stream = output.add_stream("libmp3lame", rate=rate, options={} if bits else {"q": "4"})
        stream.layout, stream.format, stream.bit_rate = layout, "fltp", bits or 0
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=layout)
        frame.rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    samples = read_header(tmp_path / "x.mp3").samples
    assert 0 <= samples - sound.shape[1] <= (3 * 1152 if tags.get("write_xing") else 0)
    assert read_audio(tmp_path / "x.mp3", rate).shape == (1, samples)


def mp3_tag(path: Path) -> int:
    """Bytes of the frame that is no sound."""
    frames = find_frames(memoryview(path.read_bytes()))
    assert frames is not None
    return len(frames.tag)


def truncated(data: bytes) -> bytes:
    return data[: len(data) * 6 // 10]


@pytest.mark.parametrize(("form", "codec"), FORMATS)
def test_a_sound_that_is_cut_off_is_refused_by_the_look_through_and_by_reading(
    form: str, codec: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(truncated(write(path, form, codec)))
    for read in (read_header, lambda path: read_audio(path, RATE, 0.0, 0.1)):
        with pytest.raises(
            UserError, match="is cut off|is not a sound, or a damaged one" if form == "CAF" else "is cut off"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def piped(data: bytearray, size: int) -> bytearray:
    """A WAV whose program could not know its length."""
    data[4:8], data[40:44] = struct.pack("<I", min(size + 36, 2**32 - 1)), struct.pack("<I", size)
    return data


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF, 0])
def test_a_length_that_a_pipe_could_not_know_is_that_of_the_file(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    data = write(path)
    right = read_audio(path, RATE)
    path.write_bytes(piped(data, size))
    assert read_audio(path, RATE).equal(right)
    data = write(path, "AU")
    data[8:12] = b"\xff" * 4
    path.write_bytes(data)
    assert read_audio(path, RATE).equal(right)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: flac_claiming(write(path, "FLAC"), 2**36 - 1), "bytes cannot hold the 68719476735 samples"),
        (lambda path: flac_claiming(write(path, "FLAC"), 48001), "is cut off: it has 48000 samples, and .* 48001"),
        (lambda path: truncated(flac_claiming(write(path, "FLAC"), 0)), r"is cut off or damaged after \d+ samples"),
        (lambda path: xing(write(path, "MP3"), 2**31), r"it has \d+ frames, and its header speaks of 2147483648"),
        (lambda path: truncated(write(path, "MP3")[mp3_tag(path) :]), "is cut off within its last frame"),
        (lambda path: bytes(write(path) * 2), "is not a sound, or a damaged one"),
        (lambda path: bytes(write(path, "AIFF") * 2), "is not a sound, or a damaged one"),
        (lambda path: bytes(write(path, "FLAC") * 2), "holds several streams in a row"),
        (lambda path: bytes(write(path, "OGG") * 2), "holds several streams in a row"),
        (lambda path: bytes(write(path, "OGG") + write(path, "OGG", seconds=1.0)), "holds several streams in a row"),
        (lambda path: write(path)[:24] + struct.pack("<I", 1) + write(path)[28:], "it has 1 samples a second; 1000 to"),
    ],
)  # fmt: skip
def test_claims_that_cannot_be_are_refused_before_memory_is_taken(
    make: Callable[[Path], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(make(path))
    for read in (read_header, lambda path: read_audio(path, RATE)):
        with pytest.raises(UserError, match=message):
            read(path)


def test_a_flac_of_silence_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """Hours in a few hundred bytes, each of them legal."""
    path = tmp_path / "x.flac"
    soundfile.write(path, np.zeros(2**24 + 4096, np.int16), RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    assert len(data) < 2**17
    for claim in (2**24 + 4096, 0):
        path.write_bytes(flac_claiming(data, claim))
        with pytest.raises(UserError, match="bytes cannot hold the"):
            read_header(path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.wav")
    with pytest.raises(UserError, match="is no file, but a pipe"):
        read_header(tmp_path / "x.wav")


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    write(path, "MP3")
    assert read_header(path).samples == 48000
    write(path, "MP3", seconds=1.0)
    assert read_header(path).samples == read_audio(path, RATE).shape[1] == 16000


def stereo(path: Path, *channels: np.ndarray, codec: str | None = None) -> None:
    soundfile.write(path, np.stack(channels, 1), RATE, format="WAV", subtype=codec)


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_channels_that_cancel_or_are_silent_do_not_weaken_the_sound(seconds: float, tmp_path: Path) -> None:
    path, sound = tmp_path / "x.wav", sweep(seconds)
    right = torch.from_numpy(sound).float()[None]
    for channels, change in (
        ([sound, -sound], "channels that cancel each other turned to one phase"),
        ([-0.9 * sound, 1.1 * sound], "channels that cancel each other turned to one phase"),
        ([sound, 0 * sound], "1 silent channel(s) of 2 left out"),
        ([0 * sound, sound, 0 * sound], "2 silent channel(s) of 3 left out"),
        ([sound, sound], None),
        ([0.5 * sound, 1.5 * sound], None),
        ([0 * sound, 0 * sound], None),
    ):
        stereo(path, *(channel / 2 for channel in channels))
        header = read_header(path)
        assert header.changes == ((change,) if change else ())
        mixed = read_audio(path, RATE)
        target = right * 0 if not channels[0].any() and not channels[1].any() and len(channels) == 2 else right / 2
        assert min((mixed - target).abs().max(), (mixed + target).abs().max()) < 1e-3
        part = read_audio(path, RATE, 0.3, 0.2)
        assert (part - mixed[:, 4800:8000]).abs().max() < 1e-6  # the whole file decides, not the stretch


def test_a_channel_that_speaks_late_is_kept(tmp_path: Path) -> None:
    sound = sweep(60.0) / 2
    late = sound * (np.arange(len(sound)) // 1000 == 501)  # between the places that are looked at
    stereo(tmp_path / "x.wav", sound * (late == 0), late)
    mixed = read_audio(tmp_path / "x.wav", RATE)
    assert (mixed[0, 501000:502000] - torch.from_numpy(sound[501000:502000]).float()).abs().max() < 1e-3


def test_floats_above_full_scale_are_reported_and_refused_by_the_look_through(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.float32([0.5, 1.2, -1.1]), RATE, subtype="FLOAT")
    assert read_header(path).changes == ("floats above 1 cut",)
    for bad, message in ((3.0, "holds samples up to 3"), (np.nan, "NaN"), (-np.inf, "NaN or infinite")):
        stereo(path, np.float32([0.5] * 9), np.float32([0.5] * 8 + [bad]), codec="DOUBLE")
        with pytest.raises(UserError, match=message):
            read_header(path)


def test_the_slow_way_to_resample_is_the_quick_one() -> None:
    x = torch.from_numpy(sweep(0.5)).float().expand(2, 1, -1)
    for before, after in ((22050, 16000), (8000, 44100), (48000, 16000)):
        assert (_resample_slowly(x, before, after) - resample(x, before, after)).abs().max() < 1e-5


@pytest.mark.parametrize("rate", [22254, 44056, 11127, 15991, 999983, 1009])
def test_rates_without_a_common_divisor_are_resampled(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    tone = 0.5 * np.sin(2 * np.pi * 220 * np.arange(rate) / rate)
    soundfile.write(path, tone, rate)
    x = read_audio(path, RATE)
    assert x.shape == (1, RATE)
    target = 0.5 * torch.sin(2 * torch.pi * 220 * torch.arange(RATE) / RATE)
    assert (x[0] - target)[1000:-1000].abs().max() < 0.01

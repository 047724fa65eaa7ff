import gc
import multiprocessing
import shutil
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import VIDEOS
from mmgen.media.images import save_png, to_uint8
from mmgen.media.video import contact_sheet, gif_bytes, mp4_bytes, read_clip, tile_clips, write_gif, write_mp4
from mmgen.media.video_file import read_frames, read_header
from tests.numbered_videos import numbers, write_numbered


def waves(channels: int, frames: int, height: int, width: int) -> Tensor:
    """A smooth clip in motion, of other colours at every place."""
    t, h, w = torch.meshgrid(*(torch.arange(n) / 9 for n in (frames, height, width)), indexing="ij")
    return torch.stack([torch.sin(h + 2 * t), torch.cos(w - t), torch.sin(h + w + t) * 0.7][:channels])


def psnr(one: Tensor, other: Tensor) -> float:
    error = (to_uint8(one).double() - to_uint8(other).double()).square().mean()
    return float(10 * torch.log10(255**2 / error))


@pytest.mark.parametrize("shape", [(1, 7, 32, 48), (3, 7, 33, 47), (1, 1, 5, 3), (3, 4, 1, 2)])
def test_mp4_gives_back_nearly_what_was_written(shape: tuple[int, int, int, int], tmp_path: Path) -> None:
    clip = waves(*shape)
    write_mp4(clip, tmp_path / "x.mp4", fps=12.5)
    header = read_header(tmp_path / "x.mp4")
    assert header.seconds == pytest.approx(shape[1] / 12.5)
    assert header.size == tuple(side + side % 2 for side in shape[2:])  # 4:2:0 needs even sides
    assert header.fps == pytest.approx(12.5)
    # Read whole, because of an odd side the centre would lie half a pixel beside what was written.
    again = read_clip(tmp_path / "x.mp4", (shape[0], shape[1], *header.size), fps=12.5)[..., : shape[2], : shape[3]]
    assert psnr(again, clip) > (38 if shape[0] == 1 else 33)  # colour has half the pixels
    assert again.dtype == torch.float32


def test_without_h264_mpeg4_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(av, "codecs_available", frozenset({"mpeg4"}))
    clip = waves(3, 6, 32, 48)
    write_mp4(clip, tmp_path / "x.mp4", fps=24)
    with av.open(tmp_path / "x.mp4") as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert psnr(read_clip(tmp_path / "x.mp4", (3, 6, 32, 48), fps=24), clip) > 33


def test_gif_keeps_every_grey_and_never_ends(tmp_path: Path) -> None:
    clip = torch.arange(256).view(1, 1, 16, 16).roll(3, 1).repeat(1, 5, 1, 1) / 127.5 - 1
    clip = torch.stack([frame.roll(step, -1) for step, frame in enumerate(clip.unbind(1))], dim=1)
    write_gif(clip, tmp_path / "x.gif", fps=30)
    with Image.open(tmp_path / "x.gif") as opened:
        assert (opened.n_frames, opened.info["loop"]) == (5, 0)
        lasts = []
        for number in range(5):
            opened.seek(number)
            assert np.array_equal(np.asarray(opened.convert("L")), to_uint8(clip[0, number]).numpy())
            lasts.append(opened.info["duration"])
    assert sum(lasts) == 160  # 5 / 30 s in the hundredths that a GIF knows
    assert set(lasts) == {30, 40}
    assert torch.equal(to_uint8(read_clip(tmp_path / "x.gif", (1, 5, 16, 16), fps=30)), to_uint8(clip))


def test_a_gif_is_not_faster_than_viewers_show(tmp_path: Path) -> None:
    write_gif(waves(3, 4, 8, 8), tmp_path / "x.gif", fps=120)
    with Image.open(tmp_path / "x.gif") as opened:
        assert opened.info["duration"] == 20


UNEVEN = [0.0, 0.04, 0.05, 0.3, 0.35, 0.9, 1.0, 1.01, 1.02, 1.9, 2.0, 2.5, 3.1, 3.15, 3.2]


def shown_at(times: list[float], stamps: list[float]) -> list[int]:
    """What a screen shows: the last frame that has begun."""
    return [max(number for number, stamp in enumerate(stamps) if stamp <= time + 1e-6) for time in times]


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv", "x.mov"])
@pytest.mark.parametrize(("fps", "frames", "start"), [(8, 25, 0.0), (30, 40, 1.0), (25, 20, 1.88), (3, 6, 0.2)])
def test_a_variable_frame_rate_is_read_by_its_timestamps(
    name: str, fps: float, frames: int, start: float, tmp_path: Path
) -> None:
    path = write_numbered(tmp_path / name, UNEVEN, encoder={"g": "4"})
    times = [start + number / fps for number in range(frames)]
    assert numbers(read_clip(path, (1, frames, 8, 8), fps, start)) == shown_at(times, UNEVEN)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "encoder", "container"),
    [
        ("x.mp4", "libx264", 25, {"g": "12", "bf": "3", "b_strategy": "0", "sc_threshold": "0"}, {}),
        ("x.avi", "mpeg4", 25, {"g": "12", "bf": "2", "b": "4000000"}, {}),  # as UCF-101: the first timestamp is not 0
        ("x.webm", "libvpx", 30, {"g": "12", "b": "4000000", "qmax": "10"}, {}),  # timestamps in whole milliseconds
        ("x.ts", "libx264", 25, {"g": "12"}, {}),  # no index, and the first timestamp is not 0
        ("x.mp4", "libx264", 25, {"g": "12"}, {"movflags": "frag_keyframe+empty_moov"}),
    ],
    ids=["mp4", "avi", "webm", "ts", "fragments"],
)
def test_every_frame_is_found_from_any_start(
    name: str, codec: str, rate: int, encoder: dict[str, str], container: dict[str, str], tmp_path: Path
) -> None:
    stamps = [number / rate for number in range(60)]
    how = {"rate": rate, "tick": Fraction(1, rate), "encoder": encoder, "container": container}
    path = write_numbered(tmp_path / name, stamps, codec, **how)
    assert numbers(read_clip(path, (3, 60, 8, 8), rate)) == list(range(60))
    assert numbers(read_clip(path, (3, 10, 8, 8), rate, start=42 / rate)) == list(range(42, 52))
    assert numbers(read_clip(path, (1, 20, 8, 8), rate / 3)) == list(range(0, 60, 3))
    assert read_header(path).seconds == pytest.approx(60 / rate, abs=2e-3)


def end_of(path: Path) -> float:
    """When the last frame ends: what is asked for later is refused, what is asked for earlier is there."""
    end = read_header(path).seconds
    read_clip(path, (1, 1, 8, 8), 25, end - 0.002)
    with pytest.raises(UserError, match="ends after"):
        read_clip(path, (1, 1, 8, 8), 25, end + 0.002)
    return end


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x.mkv"])
@pytest.mark.parametrize("reordered", [0, 2, 3])
def test_a_video_is_as_long_as_its_frames_are_shown(name: str, reordered: int, tmp_path: Path) -> None:
    """The length in a track's header adds up the times of decoding, which end earlier where frames are reordered."""
    stamps = [*(number / 10 for number in range(28)), 4.0, 8.0]
    encoder = {"bf": str(reordered), "g": "12", "b_strategy": "0", "sc_threshold": "0"}  # with 2, that of 8 s is first
    path = write_numbered(tmp_path / name, stamps, rate=10, encoder=encoder)
    assert end_of(path) == pytest.approx(8.1, abs=2e-3)
    assert numbers(read_clip(path, (1, 3, 8, 8), 1, 4.5)) == [28, 28, 28]
    assert numbers(read_clip(path, (1, 1, 8, 8), 1, 8.05)) == [29]


@pytest.mark.parametrize("reordered", [0, 2])
@pytest.mark.parametrize(("first", "shown"), [(0, 20), (7, 20), (12, 8), (0, 50)])
def test_what_an_edit_list_cuts_away_is_not_shown(first: int, shown: int, reordered: int, tmp_path: Path) -> None:
    """As telephones cut: the frames stay in the file, and the edit list (ISO 14496-12, 8.6.6) says which are shown."""
    encoder = {"bf": str(reordered), "g": "10", "b_strategy": "0", "sc_threshold": "0"}
    path = write_numbered(tmp_path / "x.mp4", [number / 25 for number in range(50)], encoder=encoder)
    content = bytearray(path.read_bytes())
    place = content.index(b"elst") + 12
    seconds, began = struct.unpack(">Ii", content[place : place + 8])
    assert seconds == 2000  # in thousandths
    ticks = 16000 // 25
    content[place : place + 8] = struct.pack(">Ii", 40 * shown, began + first * ticks)
    path.write_bytes(content)
    assert end_of(path) == pytest.approx(shown / 25, abs=2e-3)
    assert numbers(read_clip(path, (1, shown, 8, 8), 25)) == list(range(first, first + shown))
    assert numbers(read_clip(path, (1, 3, 8, 8), 25, (shown - 3) / 25)) == list(range(first + shown - 3, first + shown))


def test_a_recording_that_begins_between_key_frames_begins_with_the_next_one(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.ts", [number / 25 for number in range(50)], encoder={"g": "10", "bf": "0"})
    whole = path.read_bytes()
    path.write_bytes(whole[188 * (len(whole) // 188 // 4) :])
    seconds = end_of(path)
    assert numbers(read_clip(path, (1, 1, 8, 8), 25, seconds - 0.03)) == [49]
    first = numbers(read_clip(path, (1, 1, 8, 8), 25))[0]
    assert first % 10 == 0 and seconds == pytest.approx((50 - first) / 25, abs=2e-3)


def test_a_slower_video_shows_its_frames_several_times(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", [0, 0.2, 0.4], rate=5)
    assert numbers(read_clip(path, (1, 6, 8, 8), fps=10)) == [0, 0, 1, 1, 2, 2]


def test_frames_are_scaled_until_they_cover_and_their_centre_is_cut(tmp_path: Path) -> None:
    clip = torch.full((3, 2, 40, 80), -1.0)
    clip[:, :, :, 20:60] = torch.linspace(-1, 1, 40)  # what a square shows of it
    write_mp4(clip, tmp_path / "x.mp4", fps=5)
    x = read_clip(tmp_path / "x.mp4", (1, 2, 20, 20), fps=5)
    expected = torch.linspace(-1, 1, 40).view(20, 2).mean(1)
    assert (x[0, :, 5:-5, 2:-2] - expected[2:-2]).abs().max() < 0.06


def turned(path: Path, matrix: tuple[int, ...], aspect: Fraction | None = None) -> Path:
    """Black 64x32 with a white upper left quarter, and a matrix in the MP4's track header (ISO 14496-12, 8.3.2)."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32] = 255
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 24] = struct.pack(">6i", *(65536 * number for number in matrix))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0)),
        ((0, 1, 0, -1, 0, 0), (0, 1)),
        ((-1, 0, 0, 0, -1, 0), (1, 1)),
        ((0, -1, 0, 1, 0, 0), (1, 0)),
        ((-1, 0, 0, 0, 1, 0), (0, 1)),  # mirrored, as a camera of selfies writes it
        ((1, 0, 0, 0, -1, 0), (1, 0)),
        ((0, 1, 0, 1, 0, 0), (0, 0)),
        ((0, -1, 0, -1, 0, 0), (1, 1)),
    ],
)
def test_frames_are_upright_whatever_way_the_camera_was_held(
    matrix: tuple[int, ...], corner: tuple[int, int], tmp_path: Path
) -> None:
    x = read_clip(turned(tmp_path / "x.mp4", matrix), (1, 2, *((32, 64) if matrix[0] else (64, 32))), fps=10)
    quarters = x[0, 0, 5 :: x.shape[2] // 2, 5 :: x.shape[3] // 2] > 0
    assert quarters[:2, :2].nonzero().tolist() == [list(corner)]


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(2), (32, 128)), (Fraction(1, 2), (64, 64))])
@pytest.mark.parametrize("sideways", [False, True])
def test_pixels_that_are_not_square_are_shown_as_they_are(
    aspect: Fraction, size: tuple[int, int], sideways: bool, tmp_path: Path
) -> None:
    path = turned(tmp_path / "x.mp4", (0, 1, 0, -1, 0, 0) if sideways else (1, 0, 0, 0, 1, 0), aspect)
    header = read_header(path)
    assert (header.size, header.aspect) == (size, aspect)
    height, width = size[::-1] if sideways else size
    x = read_clip(path, (1, 2, height, width), fps=10)[0, 0] > 0
    assert x.double().mean() == pytest.approx(0.25, abs=0.02)
    assert x[: height // 2, width // 2 :].double().mean() > 0.9 if sideways else x[: height // 2, : width // 2].all()


def test_pixels_that_are_lines_are_refused(tmp_path: Path) -> None:
    path = turned(tmp_path / "x.mp4", (1, 0, 0, 0, 1, 0), Fraction(20))
    for read in (read_header, lambda path: read_clip(path, (1, 1, 8, 8), 10)):
        with pytest.raises(UserError, match="says that its pixels are 20 times as wide as high"):
            read(path)


def sound(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def no_frames(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    save_png(torch.zeros(3, 8, 8), tmp_path / "image.png")
    shutil.copy(tmp_path / "image.png", tmp_path / "image.mp4")
    sound(tmp_path / "sound.mp4")
    no_frames(tmp_path / "none.mp4")
    no_frames(tmp_path / "none.avi")
    known = write_numbered(tmp_path / "known.mp4", [0.0, 0.1]).read_bytes()
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile known.mp4\n")
    write_mp4(torch.zeros(3, 1, 8, 8), tmp_path / "frame.mp4", fps=10)
    (tmp_path / "codec.mp4").write_bytes(b"zzz9".join(known.rsplit(b"avc1", 1)))
    for name, message in (
        ("text.mp4", "is not a video, or a damaged or truncated one"),
        ("empty.mp4", "is not a video, or a damaged or truncated one"),
        ("list.mp4", "is not a video"),
        ("image.mp4", "is not a video"),
        ("concat.mp4", "is not a video"),
        ("frame.mp4", "ends after 0.1 s, but a frame at 0.1 s is needed; take a shorter clip"),
        ("sound.mp4", "has no video stream"),
        ("none.mp4", "has no video stream"),
        ("none.avi", "has no frame"),
        ("codec.mp4", "is of a codec for which there is no decoder here, or damaged"),
        ("missing.mp4", "does not exist"),
        (".", "is a folder, not a video"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read_clip(tmp_path / name, (3, 2, 8, 8), fps=10)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        if name != "frame.mp4":  # a file that shows one frame is a video
            with pytest.raises(UserError):
                read_header(tmp_path / name)


def test_truncated_files_are_told_by_their_header(tmp_path: Path) -> None:
    stamps = [number / 25 for number in range(50)]
    last = write_numbered(tmp_path / "last.mp4", stamps).read_bytes()
    first = write_numbered(tmp_path / "first.mp4", stamps, container={"movflags": "faststart"}).read_bytes()
    assert first.index(b"moov") < first.index(b"mdat") and last.index(b"moov") > last.index(b"mdat")
    (tmp_path / "x.mp4").write_bytes(last[: len(last) // 2])
    with pytest.raises(UserError, match=r"x.mp4 is not a video, or a damaged or truncated one"):
        read_header(tmp_path / "x.mp4")
    (tmp_path / "x.mp4").write_bytes(first[: -len(first) // 4])
    with pytest.raises(UserError, match=r"x.mp4 is cut off: it has \d+ bytes, and its header speaks of \d+ or more"):
        read_header(tmp_path / "x.mp4")


@pytest.mark.parametrize("fragments", [False, True])
def test_frames_that_a_header_claims_and_the_file_cannot_hold_take_no_memory(fragments: bool, tmp_path: Path) -> None:
    """Of one byte each, all in one chunk, all equally long: an index of gigabytes in a file of two thousand bytes."""
    how = {"movflags": "frag_keyframe+empty_moov"} if fragments else {}
    path = write_numbered(tmp_path / "x.mp4", [number / 25 for number in range(20)], encoder={"bf": "0"}, container=how)
    content = bytearray(path.read_bytes())
    for box, at, values in (
        ((b"trun", 8, (80_000_000,)),) if fragments
        else ((b"stsz", 8, (1, 80_000_000)), (b"stsc", 16, (80_000_000,)), (b"stts", 12, (80_000_000,)))
    ):  # fmt: skip
        place = content.rindex(box) + at
        content[place : place + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    path.write_bytes(content)
    for read in (read_header, lambda path: read_clip(path, (1, 1, 8, 8), 10)):
        with pytest.raises(
            UserError, match=r"x.mp4 is damaged: it has \d+ bytes, and its header claims 80000000 frames"
        ):
            read(path)


@pytest.mark.parametrize("side", [16000, 60000])
def test_frames_that_would_fill_the_memory_are_refused(side: int, tmp_path: Path) -> None:
    write_gif(waves(3, 3, 8, 8), tmp_path / "x.gif", fps=10)
    content = bytearray((tmp_path / "x.gif").read_bytes())
    content[6:10] = struct.pack("<2H", side, side)
    (tmp_path / "x.gif").write_bytes(content)
    for read in (read_header, lambda path: read_clip(path, (1, 1, 8, 8), 10)):
        with pytest.raises(UserError, match="is damaged, or its frames have more than 33554432 pixels"):
            read(tmp_path / "x.gif")


WRITTEN_AS = {
    ".divx": "avi",
    ".f4v": "mp4",
    ".m2ts": "mpegts",
    ".m2v": "mpeg2video",
    ".mpe": "mpeg",
    ".mts": "mpegts",
    ".ogm": "ogg",
    ".qt": "mov",
    ".ts": "mpegts",
    ".y4m": "yuv4mpegpipe",
}
CODECS = {
    ".asf": "msmpeg4v3",
    ".flv": "flv",
    ".m2v": "mpeg2video",
    ".mjpeg": "mjpeg",
    ".mpe": "mpeg2video",
    ".mpeg": "mpeg2video",
    ".mpg": "mpeg2video",
    ".ogm": "libvpx",
    ".ogv": "libvpx",
    ".vob": "mpeg2video",
    ".webm": "libvpx",
    ".wmv": "wmv2",
    ".y4m": "wrapped_avframe",
    ".3gp": "mpeg4",
    ".3g2": "mpeg4",
}


@pytest.mark.parametrize("suffix", sorted(VIDEOS.suffixes - {".dv", ".gif", ".mxf"}))
def test_what_a_folder_of_videos_lists_is_read(suffix: str, tmp_path: Path) -> None:
    path, codec = tmp_path / f"x{suffix}", CODECS.get(suffix, "mpeg4")
    with av.open(path, "w", format=WRITTEN_AS.get(suffix)) as output:
        stream = output.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(12):
            pixels = np.full((64, 64, 3), 20 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    assert read_header(path).seconds == pytest.approx(12 / 25, abs=2e-3)
    levels = read_clip(path, (1, 12, 8, 8), 25).mean((0, 2, 3))
    assert (levels - (torch.arange(12) * 20 / 127.5 - 1)).abs().max() < 0.1


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.mp4", "libx264"), ("x.ts", "libx264"), ("x.mkv", "libx264"), ("x.webm", "libvpx"), ("x.mpg", "mpeg2video")],
)
def test_videos_that_were_joined_byte_by_byte_are_refused(name: str, codec: str, tmp_path: Path) -> None:
    """Of them one would be read, or frames of one for those of another."""
    stamps = [number / 25 for number in range(50)]
    path = write_numbered(tmp_path / name, stamps, codec, tick=Fraction(1, 25))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(UserError, match="several videos in a row"):
        read_header(path)
    with pytest.raises(UserError, match="several videos in a row"):
        read_clip(path, (1, 60, 8, 8), 25)


def test_more_frames_than_there_are(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", [number / 25 for number in range(50)])
    assert read_clip(path, (1, 50, 8, 8), fps=25).shape[1] == 50
    for frames, start in ((51, 0.0), (1, 2.0), (2, 1.97)):
        with pytest.raises(UserError, match=r"x.mp4 ends after 2 s, but a frame at 2(.01)? s is needed"):
            read_clip(path, (1, frames, 8, 8), fps=25, start=start)


def test_damage_within_the_frames_that_are_needed(tmp_path: Path) -> None:
    write_mp4(torch.rand(3, 12, 64, 64) * 2 - 1, tmp_path / "x.mp4", fps=10)
    content = bytearray((tmp_path / "x.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = np.random.default_rng(0).bytes(4000)
    (tmp_path / "x.mp4").write_bytes(content)
    assert read_header(tmp_path / "x.mp4").seconds == pytest.approx(1.2)  # it does not look there
    with pytest.raises(UserError, match=r"x.mp4 is not a video, or a damaged or truncated one") as caught:
        read_clip(tmp_path / "x.mp4", (3, 12, 64, 64), fps=10)
    assert "\n" not in str(caught.value)


def test_a_process_that_inherits_frames_lets_go_of_them(tmp_path: Path) -> None:
    """As a loading process does, that is forked while frames of an earlier error wait for the garbage collector."""
    path = write_numbered(tmp_path / "x.mp4", [0.0, 0.1], size=(256, 256))
    gc.disable()
    try:
        with pytest.raises(UserError, match="ends after"):
            read_clip(path, (3, 9, 8, 8), 10)
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
        child.join(20)
    finally:
        gc.enable()
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0


def test_an_odd_name_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "http:50% of a|clip é.mp4"
    write_mp4(waves(1, 2, 8, 8), path, fps=10)
    assert read_header(path).seconds == pytest.approx(0.2)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 8, 8), (3, 0, 8, 8)])
def test_shapes_that_are_no_clips(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a clip has shape \(1 or 3, T, H, W\)"):
        read_clip(tmp_path / "x.mp4", shape, fps=10)
    with pytest.raises(ValueError, match=r"a clip is \(1 or 3, T, H, W\)"):
        mp4_bytes(torch.zeros(shape), fps=10)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_frame_rates_that_are_none(fps: float, tmp_path: Path) -> None:
    for call in (mp4_bytes, gif_bytes):
        with pytest.raises(UserError, match="frames a second; give a number between"):
            call(torch.zeros(1, 2, 8, 8), fps)
    with pytest.raises(UserError, match="frames a second; give a number between"):
        read_clip(tmp_path / "x.mp4", (1, 2, 8, 8), fps)


def test_without_pyav_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (
        lambda: mp4_bytes(torch.zeros(1, 2, 8, 8), 10),
        lambda: read_header(tmp_path / "x.mp4"),
        lambda: next(read_frames(tmp_path / "x.mp4", [0.0], 1)),
    ):
        with pytest.raises(UserError, match=r"video files need the package av: pip install 'mmgen\[video\]'"):
            call()
    assert gif_bytes(torch.zeros(1, 2, 8, 8), 10).startswith(b"GIF89a")


def test_a_contact_sheet_spreads_frames_from_the_first_to_the_last() -> None:
    clips = (torch.arange(2 * 31).view(2, 1, 31, 1, 1) / 100).expand(2, 1, 31, 4, 6)
    sheet = contact_sheet(clips)
    assert sheet.shape == (1, 2 * 6 + 2, 16 * 8 + 2)
    row = torch.arange(31)[::2] / 100
    assert torch.allclose(sheet[0, 2, 2::8][:16], row)
    assert torch.allclose(sheet[0, 8, 2::8][:16], row + 0.31)
    assert contact_sheet(clips[:, :, :3]).shape == (1, 2 * 6 + 2, 3 * 8 + 2)


def test_tiled_clips_move_together() -> None:
    clips = torch.rand(3, 3, 4, 5, 6)
    tiled = tile_clips(clips, columns=2)
    assert tiled.shape == (3, 4, 2 * 7 + 2, 2 * 8 + 2)
    assert torch.equal(tiled[:, :, 2:7, 10:16], clips[1])
    assert torch.equal(tiled[:, :, 9:14, 2:8], clips[2])

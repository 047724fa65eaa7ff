"""Video files through PyAV: what a header says, and which frame is shown when.

A file's own timestamps decide, so that its frame rate may be any and may vary.
"""

import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile, islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmgen.core.errors import UserError, require
from mmgen.media.mp4_boxes import read_claims

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_ROUNDING = 6e-4  # seconds: WebM rounds timestamps to whole milliseconds, and no video has 1000 frames a second
_NEAR = 1.0  # seconds that are decoded rather than skipped
_LARGEST = 2**25  # pixels of a frame: 8K has them
_LIMITS = {"max_pixels": str(_LARGEST)}  # for the decoders, which look for themselves at what opening takes in
_FORMATS = (
    "amv,apng,asf,av1,avi,dv,flv,gif,h264,hevc,ivf,live_flv,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,"
    "rm,vc1,webm,wtv,yuv4mpegpipe"
)
_HEAD = 64  # packets among which the earliest frame is: encoders put them less far out of order
_REORDERED = 0.9  # seconds by which a frame may come out of order
_WIDEST = 8  # times as wide as high, or as high as wide, that a pixel may be
_TURNS = {  # by which way the display matrix takes the right and the lower edge
    ((1, 0), (0, 1)): None,
    ((-1, 0), (0, 1)): Image.Transpose.FLIP_LEFT_RIGHT,
    ((1, 0), (0, -1)): Image.Transpose.FLIP_TOP_BOTTOM,
    ((-1, 0), (0, -1)): Image.Transpose.ROTATE_180,
    ((0, 1), (-1, 0)): Image.Transpose.ROTATE_270,
    ((0, -1), (1, 0)): Image.Transpose.ROTATE_90,
    ((0, 1), (1, 0)): Image.Transpose.TRANSPOSE,
    ((0, -1), (-1, 0)): Image.Transpose.TRANSVERSE,
}


def import_av() -> ModuleType:
    """PyAV, which is optional and slow to import. Raises UserError where it is not installed."""
    try:
        import av
    except ModuleNotFoundError:
        raise UserError("video files need the package av: pip install 'mmgen[video]'") from None
    return av


@dataclass(frozen=True)
class VideoHeader:
    """What a video shows.

    Args:
        seconds: from its first frame to the end of its last one.
        size: (height, width) in square pixels, perhaps rotated.
        fps: mean frames a second, None if unknown.
        aspect: width of a stored pixel by its height.
    """

    seconds: float
    size: tuple[int, int]
    fps: float | None
    aspect: Fraction


def read_header(path: str | Path) -> VideoHeader:
    """The length and size of a video as `read_frames` shows it, without decoding: from the packets at both ends where
    there is an index (MP4, AVI), else from all. Times of frames count, not the length that a header claims.

    Raises:
        UserError: no such file, not a video, without a video stream or a frame, or shorter than its index says.
    """
    with _opened(path) as (container, stream):
        index = stream.index_entries
        needed, size = max((entry.pos + entry.size for entry in index), default=0), os.path.getsize(path)
        if needed > size:
            raise UserError(f"video {path} is cut off: it has {size} bytes, and its header speaks of {needed} or more")
        times = []
        if index and len(index) == stream.frames:
            times = _times(islice(container.demux(stream), _HEAD), stream, path)
            container.seek(index[-1].timestamp, stream=stream)  # to the last key frame: frames before it end before it
            times = times and (tail := _times(container.demux(stream), stream, path)) and times + tail
        else:
            times = _times(container.demux(stream), stream, path)
        require(bool(times), f"video {path} has no frame")
        seconds = (max(end for _, end in times) - min(begin for begin, _ in times)) * float(stream.time_base or 1)
        require(seconds > 0, f"video {path} has no frame")
        rate = float(stream.average_rate) if stream.average_rate else None
        aspect = _aspect(stream, path)
        return VideoHeader(
            seconds, _square(stream.codec_context.height, stream.codec_context.width, aspect), rate, aspect
        )


def check_length(path: str | Path, seconds: float, frames: int, fps: float) -> None:
    """Raises UserError unless a video of that length shows as many frames, `1 / fps` seconds apart."""
    if (frames - 1) / fps + _ROUNDING >= seconds:
        raise UserError(f"video {path} has {seconds:.4g} s, too few for {frames} frames at {fps:g} a second")


def read_frames(path: str | Path, times: Sequence[float], channels: int) -> Iterator[Image.Image]:
    """The frames shown at these times, upright, one after another, so that only two are in memory.

    Args:
        path: a file of any format that PyAV reads.
        times: ascending, in seconds from the video's beginning.
        channels: 1 for grey (mode L), 3 for colour (mode RGB).

    Raises:
        UserError: no such file, not a video, without a video stream or a frame, damaged where it is needed, or it ends
            before the last of the times.
    """
    frames = _from(path, times[0])
    current, following = next(frames), next(frames, None)
    for time in times:
        while following is not None and following.begin <= time + _ROUNDING:
            current, following = following, next(frames, None)
        if following is None and current.end <= time + _ROUNDING:
            needed = f"but a frame at {time:.4g} s is needed; take a shorter clip"
            raise UserError(f"video {path} ends after {current.end:.4g} s, {needed}")
        require(not current.frame.is_corrupt, f"video {path} is damaged at {current.begin:.4g} s")
        yield _image(current.frame, channels, current.aspect)


@dataclass(frozen=True)
class _Frame:
    """A decoded frame, its time in seconds from the video's beginning, and width by height of its pixels."""

    frame: "VideoFrame"
    begin: float
    end: float
    aspect: Fraction


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """A video file and its video stream; whatever PyAV raises within becomes a UserError of one line."""
    av = import_av()
    require(os.path.exists(path), f"video {path} does not exist")
    require(not os.path.isdir(path), f"{path} is a folder, not a video")
    require(os.path.isfile(path), f"{path} is no file, but a pipe, a socket or a device")
    try:
        # A playlist that calls itself a video must not open addresses; the prefix keeps a colon in a name a name.
        # Titles and the like, of which nothing is read here, may be written in any alphabet.
        # Nor may it be a list of other files, and a header must not claim memory that the file cannot fill.
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, **_LIMITS}
        size, (videos, frames) = os.path.getsize(path), read_claims(path)
        require(videos <= 1, f"video {path} is several videos in a row, of which one would be read; make them one file")
        require(frames <= size, f"video {path} is damaged: it has {size} bytes, and its header claims {frames} frames")
        with av.open(f"file:{os.fspath(path)}", options=options, metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic  # of a sound file
            streams = [stream for stream in container.streams.video if not stream.disposition & cover]
            require(bool(streams), f"{path} has no video stream")
            if streams[0].codec_context is None:  # whatever the stubs of PyAV say
                raise UserError(f"{path} is of a codec for which there is no decoder here, or damaged")
            width, height = streams[0].codec_context.width, streams[0].codec_context.height
            fits = 0 < width * height <= _LARGEST
            require(fits, f"video {path} is damaged, or its frames have more than {_LARGEST} pixels")
            streams[0].codec_context.options = _LIMITS
            streams[0].codec_context.thread_count = 1  # loading has processes for that
            yield container, streams[0]
    except PermissionError:
        raise UserError(f"video {path} may not be read (permission denied)") from None
    except (av.error.InvalidDataError, av.error.ArgumentError):  # the second for a format that is not in the list
        raise UserError(f"{path} is not a video, or a damaged or truncated one") from None
    except av.error.FFmpegError as error:
        raise UserError(f"{path} is a damaged video: {error.strerror}") from None


def _times(packets: Iterable["Packet[VideoStream]"], stream: "VideoStream", path: str | Path) -> list[tuple[int, int]]:
    """When each frame is shown, in ticks from and to; without those that edit lists cut away, and those before the
    first key frame, which cannot be decoded.
    """
    tick = float(stream.time_base or 1)
    usual, latest, times = round(1 / float(stream.average_rate or 25) / tick), -math.inf, []
    for packet in dropwhile(lambda packet: not packet.is_keyframe, packets):
        begin = packet.dts if packet.pts is None else packet.pts
        if begin is not None and not packet.is_discard:
            times.append((begin, begin + (packet.duration or usual)))
            if packet.is_keyframe:  # others may come out of order, and be shown long before the one before them
                _check_order(begin * tick, latest, path)
            latest = max(latest, begin * tick)
    return times


def _check_order(time: float, latest: float, path: str | Path) -> None:
    """Raises UserError where the times of frames go back, in seconds, as where files were joined by `cat`."""
    if time < latest - _REORDERED:
        raise UserError(
            f"video {path} begins anew after {latest:.4g} s: it is several videos in a row; make them one file"
        )


def _aspect(stream: "VideoStream", path: str | Path) -> Fraction:
    """Width of a pixel by its height; 1 where the video does not say."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if not 1 <= _WIDEST * aspect <= _WIDEST**2:
        raise UserError(
            f"video {path} says that its pixels are {float(aspect):g} times as wide as high; mend its header"
        )
    return aspect


def _square(height: int, width: int, aspect: Fraction) -> tuple[int, int]:
    """The (height, width) of a picture with square pixels, of which the longer side is stretched."""
    return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)


def _from(path: str | Path, first: float) -> Iterator[_Frame]:
    """At least one frame; all in order of time, from one on that is shown at `first` or earlier, or from the first."""
    with _opened(path) as (container, stream):
        frames = _decoded(container, stream)
        beginning = next(frames, None)
        if beginning is None:
            raise UserError(f"video {path} has no frame")
        if first < _NEAR or beginning.frame.pts is None or not stream.time_base:
            yield beginning
            yield from frames
            return
        origin = beginning.frame.pts
        container.seek(origin + int(first / float(stream.time_base)), stream=stream)  # to the key frame before
        frames = _decoded(container, stream, origin)
        start = next(frames, None)
        if start is not None and start.begin <= first + _ROUNDING:
            yield start
            yield from frames
            return
    with _opened(path) as (container, stream):  # its index is wrong, so everything has to be decoded
        yield from _decoded(container, stream)


def _decoded(container: "InputContainer", stream: "VideoStream", origin: int | None = None) -> Iterator[_Frame]:
    """The frames from the container's position on; `origin` is the timestamp of the video's first frame, None where the
    next frame is the first.
    """
    path = container.name.removeprefix("file:")
    tick, aspect = float(stream.time_base or 1), _aspect(stream, path)
    usual = 1 / float(stream.average_rate or 25)  # how long a frame is shown that does not say it
    end, begin = 0.0 if origin is None else math.inf, -math.inf
    for frame in container.decode(stream):
        if origin is None:
            origin = frame.pts
        begin, latest = end if frame.pts is None or origin is None else (frame.pts - origin) * tick, begin
        _check_order(begin, latest, path)
        end = begin + (frame.duration * tick or usual)
        yield _Frame(frame, begin, end, aspect)


def _image(frame: "VideoFrame", channels: int, aspect: Fraction) -> Image.Image:
    """A frame upright with square pixels, of mode L or RGB."""
    image = frame.to_image(threads=1)  # a process that is forked could not end the threads of a frame that it inherits
    if aspect != 1:
        height, width = _square(image.height, image.width, aspect)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    turn = _turn(frame)
    upright = image if turn is None else image.transpose(turn)
    return upright.convert("L") if channels == 1 else upright


def _turn(frame: "VideoFrame") -> Image.Transpose | None:
    """How a frame is brought upright, to the nearest quarter turn, mirrored ones included; None for not at all."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])
    upright = abs(a) + abs(d) >= abs(b) + abs(c)
    sign = [1 if number >= 0 else -1 for number in ((a, d) if upright else (b, c))]
    return _TURNS[((sign[0], 0), (0, sign[1])) if upright else ((0, sign[0]), (sign[1], 0))]

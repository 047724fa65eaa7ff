"""Videos whose frames tell their number by their brightness, written with timestamps of any kind."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from mmgen.media.images import to_uint8

MOST = 60  # frames that can be told apart
_STEP, _DARKEST = 4, 8


def write_numbered(
    path: Path,
    stamps: Sequence[float],
    codec: str = "libx264",
    size: tuple[int, int] = (32, 32),
    rate: int = 25,
    tick: Fraction = Fraction(1, 1000),
    encoder: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Frame i, shown from stamps[i] seconds on, is of one grey, the brighter the larger i is.

    Args:
        path: its suffix tells the format.
        stamps: ascending, at most 60.
        codec: an encoder that PyAV has.
        size: (height, width), even.
        rate: frames a second that the file speaks of; the last frame is shown for 1 / rate.
        tick: seconds, of which timestamps are rounded to multiples.
        encoder: its options.
        container: the format's options.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt, stream.options = "yuv420p", encoder or {}
        stream.codec_context.time_base = tick
        for number, stamp in enumerate(stamps):
            pixels = np.full((*size, 3), _DARKEST + _STEP * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(stamp / tick), tick
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def numbers(clip: Tensor) -> list[int]:
    """Which frames a clip (C, T, H, W) is made of."""
    levels = to_uint8(clip).double().mean((0, 2, 3))
    return ((levels - _DARKEST) / _STEP).round().long().tolist()

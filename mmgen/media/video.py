"""Clips between tensors, floats (C, T, H, W) in [-1, 1], and files: PyAV for reading and MP4, Pillow for GIF, whose
palette is exact for grey.
"""

import io
from fractions import Fraction
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.media.folders import write_whole
from mmgen.media.images import animation_bytes, crop, grid, to_uint8
from mmgen.media.video_file import import_av, read_frames

_SHEET_FRAMES = 16  # frames a row of a contact sheet
_GIF_SHORTEST = 20  # milliseconds: viewers show frames of less far too slowly
_CRF = "16"  # constant quality of H.264; the eye sees no difference


def read_clip(path: str | Path, shape: tuple[int, ...], fps: float, start: float = 0.0) -> Tensor:
    """A video file as (C, T, H, W) floats in [-1, 1]: frame i is the one shown at `start + i / fps` seconds,
    scaled until it covers H x W, and its centre cut out.

    Args:
        path: a file of any format that PyAV reads.
        shape: (C, T, H, W) of the clip, with C 1 or 3.
        fps: of the clip, whatever the file's own rate.
        start: seconds from the video's beginning.

    Raises:
        UserError: as `read_frames`; or `shape`, `fps` or `start` is no clip's.
    """
    if len(shape) != 4 or shape[0] not in (1, 3) or min(shape) < 1:
        raise UserError(f"{path} cannot be used: a clip has shape (1 or 3, T, H, W), but {tuple(shape)} is needed here")
    _check_rate(fps)
    require(start >= 0, f"a clip of {path} cannot begin {-start:g} s before the video does")
    channels, count, height, width = shape
    times = [start + index / fps for index in range(count)]
    return torch.stack([crop(image, (height, width)) for image in read_frames(path, times, channels)], dim=1)


def mp4_bytes(clip: Tensor, fps: float) -> bytes:
    """A clip (1 or 3, T, H, W) in [-1, 1] as the bytes of an MP4 file: H.264, or MPEG-4 where PyAV lacks that encoder,
    with 4:2:0 colour. Odd sides get one more row or column, a copy of the last. Raises UserError without PyAV.
    """
    av = import_av()
    _check_clip(clip)
    _check_rate(fps)
    height, width = clip.shape[-2:]
    padded = torch.nn.functional.pad(clip.detach().float().cpu(), (0, width % 2, 0, height % 2, 0, 0), mode="replicate")
    pixels = rearrange(to_uint8(padded), "c t h w -> t h w c").expand(-1, -1, -1, 3)
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": _CRF}
        else:  # it has no constant quality through PyAV: bits for four a pixel at most
            stream.bit_rate = int(4 * height * width * fps)
        for frame in pixels.contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def gif_bytes(clip: Tensor, fps: float) -> bytes:
    """A clip (1 or 3, T, H, W) in [-1, 1] as the bytes of an endless GIF, exact for grey.

    GIF knows hundredths of a second, so each frame begins at the last one before its time, and the whole has the right
    length; more than 50 frames a second are shown at 50.
    """
    _check_clip(clip)
    _check_rate(fps)
    frame = max(1000 / fps, _GIF_SHORTEST)
    ends = [int(number * frame / 10 + 1e-6) * 10 for number in range(clip.shape[1] + 1)]
    return animation_bytes(list(clip.unbind(1)), milliseconds=[end - begin for begin, end in zip(ends, ends[1:])])


def write_mp4(clip: Tensor, path: str | Path, fps: float) -> None:
    """A clip (1 or 3, T, H, W) in [-1, 1] to an MP4 file, as `mp4_bytes`."""
    write_whole(path, mp4_bytes(clip, fps))


def write_gif(clip: Tensor, path: str | Path, fps: float) -> None:
    """A clip (1 or 3, T, H, W) in [-1, 1] to an endless GIF file, as `gif_bytes`."""
    write_whole(path, gif_bytes(clip, fps))


def contact_sheet(clips: Tensor) -> Tensor:
    """Clips (B, C, T, H, W) as one image (C, H', W'): a row a clip, at most 16 frames from left to right, evenly
    spread from the first to the last.
    """
    columns = min(clips.shape[2], _SHEET_FRAMES)
    chosen = torch.linspace(0, clips.shape[2] - 1, columns, dtype=torch.float64).round().long()
    return grid(rearrange(clips[:, :, chosen.to(clips.device)], "b c t h w -> (b t) c h w"), columns=columns)


def tile_clips(clips: Tensor, columns: int | None = None) -> Tensor:
    """Clips (B, C, T, H, W) as one clip (C, T, H', W') that shows them all, laid out by `mmgen.media.images.grid`."""
    return torch.stack([grid(frames, columns) for frames in clips.unbind(2)], dim=1)


def _check_clip(clip: Tensor) -> None:
    if clip.ndim != 4 or len(clip) not in (1, 3) or not clip.shape[1]:
        raise ValueError(f"a clip is (1 or 3, T, H, W), not {tuple(clip.shape)}")


def _check_rate(fps: float) -> None:
    require(0.01 <= fps <= 1000, f"a clip cannot have {fps:g} frames a second; give a number between 0.01 and 1000")

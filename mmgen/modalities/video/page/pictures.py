"""The pictures of clips on a page. Clips are (B, C, T, H, W) in [-1, 1]."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from mmgen.media.video import read_clip
from mmgen.media.video_file import read_header
from mmgen.page.page import Picture
from mmgen.page.tiles import LONGEST, Film, picture, pixels, sheet, spread

_TIMES = 2  # small frames are enlarged so much in the file, where there is room
_GAP = 4  # pixels between clips
_SHEET = 16  # frames a row of a contact sheet
_LARGE = 128  # pixels of the longer side, to which large frames are shrunk


def read_clips(files: Sequence[Path], fps: float) -> Tensor:
    """Video files of one size and length."""
    header = read_header(files[0])
    scale = min(1.0, _LARGE / max(header.size))
    size = tuple(round(scale * side) for side in header.size)
    frames = max(1, round(header.seconds * fps))
    return torch.stack([read_clip(file, (3, frames, *size), fps) for file in files])


def film(clips: Tensor, captions: list[str], title: str, columns: int | None = None) -> Film:
    """Clips side by side as one film. Frames are counted from 1; what would make the picture too high is left out.

    Args:
        clips: of equal length.
        captions: of each frame.
        title: what they are.
        columns: clips a row; all in one, or in two rows where there are more than four.
    """
    count, _, frames, height, _ = clips.shape
    columns = columns or (count if count <= 4 else math.ceil(count / 2))
    rows = math.ceil(count / columns)
    times = _TIMES if frames * rows * (_TIMES * height + _GAP) <= LONGEST else 1
    chosen = spread(frames, LONGEST // (rows * (times * height + _GAP)))
    strip = np.concatenate([sheet(pixels(clips[:, :, frame], times), columns, _GAP) for frame in chosen])
    drawn = picture(strip, f"{title}: {count} clips of {frames} frames.")
    return Film(drawn, [frame + 1 for frame in chosen], [captions[each] for each in chosen], f"{frames} frames")


def contact_sheet(rows: list[Tensor], alt: str) -> Picture:
    """Single clips (C, T, H, W) under each other, their frames from left to right."""
    chosen = spread(rows[0].shape[1], _SHEET)
    tiles = torch.stack([clip[:, chosen] for clip in rows])
    return picture(sheet(pixels(rearrange(tiles, "b c t h w -> (b t) c h w"), _TIMES), len(chosen), _GAP), alt)


def copied(clips: Tensor, context: int) -> Tensor:
    """The clips as they would be if nothing moved after the context."""
    last = clips[:, :, context - 1 : context]
    return torch.cat([clips[:, :, :context], last.expand_as(clips[:, :, context:])], dim=2)

"""The pictures of clips on a page. Clips are (B, C, T, H, W) in [-1, 1]."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from mmgen.media.video import read_clip
from mmgen.media.video_file import read_header
from mmgen.page.film import Film
from mmgen.page.page import Picture
from mmgen.page.tiles import LONGEST, picture, pixels, sheet, spread, strip

TIMES = 2  # small frames are enlarged so much in the file, where there is room
GAP = 4  # pixels between clips
_SHEET = 16  # frames a row of a contact sheet
_LARGE = 128  # pixels of the longer side, to which large frames are shrunk


def read_clips(files: Sequence[Path], fps: float) -> Tensor:
    """Video files of one size and length."""
    header = read_header(files[0])
    scale = min(1.0, _LARGE / max(header.size))
    size = tuple(round(scale * side) for side in header.size)
    frames = max(1, round(header.seconds * fps))
    return torch.stack([read_clip(file, (3, frames, *size), fps) for file in files])


def film(clips: Tensor, captions: list[str], total: str, alt: str, columns: int | None = None) -> Film:
    """Clips side by side as one film. Frames are counted from 1; what would make the picture too high is left out.

    Args:
        clips: of equal length.
        captions: of each frame.
        total: caption of the whole.
        alt: what is to be seen.
        columns: clips a row; all in one, or in two rows where there are more than four.
    """
    count, _, frames, height, _ = clips.shape
    columns = columns or (count if count <= 4 else math.ceil(count / 2))
    rows = math.ceil(count / columns)
    times = next((times for times in range(TIMES, 1, -1) if frames * rows * (times * height + GAP) <= LONGEST), 1)
    chosen = spread(frames, LONGEST // (rows * (times * height + GAP)))
    drawn = [sheet(pixels(clips[:, :, frame], times), columns, GAP) for frame in chosen]
    return Film(picture(strip(drawn), alt), [frame + 1 for frame in chosen], [captions[each] for each in chosen], total)


def contact_sheet(rows: list[Tensor], alt: str) -> Picture:
    """Single clips (C, T, H, W) under each other, their frames from left to right."""
    chosen = spread(rows[0].shape[1], _SHEET)
    tiles = torch.stack([clip[:, chosen] for clip in rows])
    return picture(sheet(pixels(rearrange(tiles, "b c t h w -> (b t) c h w"), TIMES), len(chosen), GAP), alt)


def copied(clips: Tensor, context: int) -> Tensor:
    """The clips as they would be if nothing moved after the context."""
    last = clips[:, :, context - 1 : context]
    return torch.cat([clips[:, :, :context], last.expand_as(clips[:, :, context:])], dim=2)

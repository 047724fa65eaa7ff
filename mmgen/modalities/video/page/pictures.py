"""The pictures of a video run's page. Clips are (B, C, T, H, W) in [-1, 1]."""

import math

import torch
from einops import rearrange
from torch import Tensor

from mmgen.page.film import Reel
from mmgen.page.page import Picture
from mmgen.page.tiles import LONGEST, picture, pixels, sheet, spread, strip

TIMES = 2  # small frames are enlarged so much in the file, where there is room
GAP = 4  # pixels between clips
SHEET = 16  # frames a row of a contact sheet


def reel(clips: Tensor, told: list[str], total: str, alt: str, columns: int | None = None) -> Reel:
    """Clips side by side as one film. Frames are counted from 1; what would make the picture too high is left out.

    Args:
        clips: of equal length.
        told: what is said below each frame.
        total: what is said of the whole.
        alt: what is to be seen.
        columns: clips a row; all in one, or in two rows where there are more than four.
    """
    count, _, frames, height, _ = clips.shape
    columns = columns or (count if count <= 4 else math.ceil(count / 2))
    rows = math.ceil(count / columns)
    times = next((times for times in range(TIMES, 1, -1) if frames * rows * (times * height + GAP) <= LONGEST), 1)
    shown = spread(frames, LONGEST // (rows * (times * height + GAP)))
    drawn = [sheet(pixels(clips[:, :, frame], times), columns, GAP) for frame in shown]
    return Reel(picture(strip(drawn), alt), [frame + 1 for frame in shown], [told[frame] for frame in shown], total)


def contact_sheet(rows: list[Tensor], alt: str) -> Picture:
    """Single clips (C, T, H, W) under each other, their frames from left to right."""
    chosen = spread(rows[0].shape[1], SHEET)
    tiles = torch.stack([clip[:, chosen] for clip in rows])
    return picture(sheet(pixels(rearrange(tiles, "b c t h w -> (b t) c h w"), TIMES), len(chosen), GAP), alt)


def copied(truth: Tensor, context: int) -> Tensor:
    """The clips as they would be if nothing moved after the context."""
    last = truth[:, :, context - 1 : context]
    return torch.cat([truth[:, :, :context], last.expand_as(truth[:, :, context:])], dim=2)


def hero(clips: Tensor, context: int) -> Picture:
    """A few clips, a row each."""
    alt = f"{len(clips)} clips, a row each from left to right: {context} real frames, then predicted ones."
    return contact_sheet(list(clips), alt)

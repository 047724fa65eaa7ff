"""Small pictures in a terminal."""

import torch
from einops import rearrange, repeat
from torch import Tensor

from mmgen.media.images import to_uint8


def terminal_picture(frame: Tensor, columns: int = 64) -> str:
    """A frame (1 or 3, H, W) in [-1, 1] as lines of half blocks in 24-bit colours, two rows of pixels a line.

    Args:
        frame: one with more than `columns` columns is thinned out.
        columns: of the terminal that may be used.
    """
    step = -(-frame.shape[-1] // columns)
    small = frame[:, ::step, ::step]
    small = torch.nn.functional.pad(small, (0, 0, 0, small.shape[1] % 2), value=-1.0)
    pixels = to_uint8(repeat(small, "c h w -> (c r) h w", r=3 // len(small)))
    lines = rearrange(pixels, "c (line two) w -> line w (two c)", two=2).tolist()
    coloured = (
        "".join("\x1b[38;2;{};{};{}m\x1b[48;2;{};{};{}m\u2580".format(*colours) for colours in line) for line in lines
    )
    return "\x1b[0m\n".join(coloured) + "\x1b[0m"

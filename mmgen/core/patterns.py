"""Patterns of codebooks: in which step of a row each code of residual tokens comes (MusicGen, Copet et al. 2023,
section 2.2). A step holds at most one code of each level, and a model predicts the codes of a step independently.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require, require_one_of
from mmgen.core.layout import Layout, Role
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid

PatternName = Literal["delay", "flat", "parallel", "coarse_first"]
ABSENT = -1  # the frame of a level that a step does not hold


@dataclass(frozen=True)
class Pattern:
    """A map between (frame, level) and (step, level), for any number of frames. Where a row has an END (`end`), its
    first level has one more place behind its last frame: frame number `length`.

    Args:
        name: `flat`: a step a code, level after level, frame after frame. `parallel`: a step a frame. `delay`: a step
            holds level q of the frame that is q before that of level 0. `coarse_first`: level 0 of all frames, then the
            other levels (VALL-E, Wang et al. 2023, has them in parallel too).
        levels: codebooks a frame, Q.
        delays: steps by which each level comes later than level 0, for `delay`, or than level 1, for `coarse_first`,
            where that of level 0 is 0. By default 0, 1, 2, ... for `delay` and 0 otherwise.

    Raises:
        UserError: delays that do not fit: another number than levels, not from 0 on, or a coarser level after a finer
            one, which is a correction of it.
    """

    name: PatternName
    levels: int
    delays: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require_one_of("pattern", self.name, get_args(PatternName))
        delays = self.delays
        if delays is None:
            delays = tuple(range(self.levels)) if self.name == "delay" else (0,) * self.levels
        elif self.name in ("flat", "parallel"):
            raise UserError(f"pattern {self.name!r} has no delays: leave them out, or take 'delay' or 'coarse_first'")
        listed = list(delays)
        require(
            len(delays) == self.levels,
            f"delays {listed} are {len(delays)} numbers for {self.levels} levels: give one each",
        )
        if any(later < earlier for earlier, later in zip(delays[:-1], delays[1:], strict=True)):
            raise UserError(f"delays {listed} bring a coarser level after a finer one, its correction: let them ascend")
        if delays[0] != 0 or (self.name == "coarse_first" and self.levels > 1 and delays[1] != 0):
            raise UserError(f"delays {listed} must be 0 for the level that they are counted from")
        object.__setattr__(self, "delays", tuple(delays))

    @property
    def nested(self) -> bool:
        """Whether the steps of a shorter row are a beginning of those of a longer one, but for codes that it lacks."""
        return self.name != "coarse_first" or self.levels == 1

    def _parts(self, length: Tensor | int, end: Tensor | bool, device: torch.device) -> tuple[Tensor, ...]:
        """Length, whether there is an END (0 or 1), the levels and their delays."""
        level = torch.arange(self.levels, device=device)
        delay = torch.tensor(self.delays, device=device)
        return torch.as_tensor(length, device=device), torch.as_tensor(end, device=device).long(), level, delay

    def steps(self, length: Tensor, end: Tensor | bool = False) -> Tensor:
        """(...) int64 steps of rows of so many frames (...), that of END included; none for none."""
        assert self.delays is not None
        length, ending, *_ = self._parts(length, end, length.device)
        last = self.delays[-1]
        if self.name == "flat":
            count = length * self.levels + ending
        elif self.name == "coarse_first":
            count = length + ending + (length + last if self.levels > 1 else 0)
        else:
            count = length + ending.clamp(min=last)
        return torch.where(length > 0, count, 0)

    def count(self, length: int, end: bool = False) -> int:
        """`steps` of one row."""
        return int(self.steps(torch.tensor(length), end))

    def at(self, step: Tensor, length: Tensor | int, end: Tensor | bool = False) -> Tensor:
        """(..., Q) int64 frame of each level at steps (...) of rows of `length` frames: `length` for END, else
        `ABSENT`.
        """
        length, ending, level, delay = self._parts(length, end, step.device)
        step, length, ending = step[..., None], length[..., None], ending[..., None]
        if self.name == "flat":
            frame = torch.where(step % self.levels == level, step // self.levels, ABSENT)
        elif self.name == "coarse_first":
            frame = step - torch.where(level == 0, 0, length + ending + delay)
        else:
            frame = step - delay
        there = (frame >= 0) & (frame < length + (level == 0) * ending) & (length > 0)
        return torch.where(there, frame, ABSENT)

    def place(self, frame: Tensor, length: Tensor | int, end: Tensor | bool = False) -> Tensor:
        """(..., Q) int64 step of each level of the frames (...): inverse of `at`."""
        length, ending, level, delay = self._parts(length, end, frame.device)
        frame, length, ending = frame[..., None], length[..., None], ending[..., None]
        if self.name == "flat":
            return frame * self.levels + level
        if self.name == "coarse_first":
            return frame + torch.where(level == 0, 0, length + ending + delay)
        return frame + delay

    def clock(self, step: Tensor, length: Tensor | int, end: Tensor | bool = False) -> Tensor:
        """(...) int64 frame of the first level of each step, as if rows had no end: where it stands in time."""
        if self.name == "flat":
            return step // self.levels
        if self.name == "coarse_first":
            length, ending, *_ = self._parts(length, end, step.device)
            return torch.where(step < length + ending, step, step - length - ending)
        return step

    def depth(self, step: Tensor, length: Tensor | int, end: Tensor | bool = False) -> Tensor:
        """(...) int64 first level that the steps hold, as if rows had no end."""
        if self.name == "flat":
            return step % self.levels
        if self.name == "coarse_first":
            length, ending, *_ = self._parts(length, end, step.device)
            return (step >= length + ending).long()
        return torch.zeros_like(step)

    def layout(self, grid: Grid, end: bool = False) -> Layout:
        """The steps of a whole grid, whose frames here are its positions in raster order; found again for each grid."""
        return _layout(self, grid, end)


def gather(codes: Tensor, frames: Tensor) -> Tensor:
    """The codes (B, T, Q) at frames (b, S, Q), b 1 or B -> (B, S, Q); anything where the frame is ABSENT or END."""
    return codes.gather(1, frames.clamp(0, codes.shape[1] - 1).expand(len(codes), -1, -1))


def lay(clock: Tensor, level: Tensor, grid: Grid, **fields: Tensor) -> Layout:
    """The layout of steps (b, S) that stand at the positions `clock` of a grid in raster order, or behind them."""
    rank = torch.arange(clock.shape[1], device=clock.device).expand_as(clock)
    size = grid[1] * grid[2]
    place = clock.clamp_min(0)
    position = torch.stack([place // size, place % size // grid[2], place % grid[2]], dim=-1)
    zeros, role = torch.zeros_like(rank), torch.full_like(rank, Role.CLEAN)
    base = dict(rank=rank, block=rank, frame=position[..., 0], document=zeros, segment=zeros, level=level, role=role)
    return Layout(position=position, **(base | fields))


@remember(256)
def _layout(pattern: Pattern, grid: Grid, end: bool) -> Layout:
    length = grid[0] * grid[1] * grid[2]
    step = torch.arange(pattern.count(length, end))[None]
    return lay(pattern.clock(step, length, end), pattern.depth(step, length, end).clamp_max(pattern.levels - 1), grid)

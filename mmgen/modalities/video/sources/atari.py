"""Clips of an Atari game with the action that led to every frame, played at random and recorded in memory."""

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import NO_ACTION, Batch, Samples, Source, SplitName, check_split
from mmgen.data.sources.scan import notice
from mmgen.modalities.video.sources.atari_console import FRAMES_A_SECOND, Console

_EPISODE = 600  # frames; then a new game begins, so that what clips show does not all come late in a few long games
_TRIES = 20  # games in a row that end before they fill a clip
_LONG = 5000  # frames whose recording is worth a notice


class Atari(Source):
    """Clips of a game of ale-py (Bellemare et al. 2013), each frame with the action that led to it; without classes.

    The player acts at random and keeps to each action for some frames, so that its effect is seen. What is recorded is
    a function of the arguments alone. Training clips and held-out clips come from different games; each game is cut
    into clips without overlap, and training begins each clip somewhere up to the next one's beginning, anew in every
    epoch. Frames stay in memory as bytes: 2,200 clips of 12 frames of 64 x 64 in colour take about 310 MiB.

    The default game is boxing because each of its 18 actions moves a figure that is large enough to see.

    Args:
        game: its name in ale-py, such as `boxing`, `pong` or `ms_pacman`.
        frames: of a clip.
        size: side of a frame, to which the screen is scaled with antialiasing.
        channels: 3 for colour, 1 for grey.
        frame_skip: frames of the console, 60 a second, to one frame of a clip.
        hold: the fewest and the most frames of a clip that the player keeps to an action, uniform between them.
        clips: to train on.
        held_out: clips of the val split.
        recording_seed: keys what the player does; another number is another recording of the same size.

    Raises:
        UserError: ale-py is missing or has no such game, or a number is out of range.
    """

    crop = "none; the screen scaled to a square, bilinearly with antialiasing"

    def __init__(
        self,
        game: str = "boxing",
        frames: int = 12,
        size: int = 64,
        channels: int = 3,
        frame_skip: int = 4,
        hold: tuple[int, int] = (2, 6),
        clips: int = 2000,
        held_out: int = 200,
        recording_seed: int = 0,
    ) -> None:
        least = {"frames": frames, "size": size, "frame_skip": frame_skip, "clips": clips, "held_out": held_out}
        for name, value in least.items():
            if value < 1:
                raise UserError(f"data.source.{name} must be at least 1, got {value}")
        if channels not in (1, 3):
            raise UserError(f"data.source.channels must be 3 for colour or 1 for grey, got {channels}")
        if len(hold) != 2 or not 1 <= hold[0] <= hold[1]:
            raise UserError(f"data.source.hold must be the fewest and the most frames of an action, got {list(hold)}")
        self.game, self.frames, self.size, self.channels, self.frame_skip = game, frames, size, channels, frame_skip
        self.hold = (int(hold[0]), int(hold[1]))
        self.counts = {"train": clips, "val": held_out}
        self.recording_seed = recording_seed
        self.console = Console(game, size, channels, frame_skip)
        self.action_names = self.console.action_names
        self.class_names = []
        self.sample_shape = (channels, frames, size, size)
        self.fps = FRAMES_A_SECOND / frame_skip
        self._splits: dict[str, AtariSamples] = {}

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if split not in self._splits:
            self._splits[split] = self._record(self.counts[split], held_out=split == "val")
        return self._splits[split]

    def _record(self, clips: int, held_out: bool) -> "AtariSamples":
        """As many games as it takes; those to train on have even numbers."""
        if clips * self.frames > _LONG:
            notice(f"recording {clips:,} clips of {self.game}, {clips * self.frames:,} frames; some seconds")
        games, starts, ends, have, length = [], [], [], 0, 0
        for number in range(int(held_out), 10**9, 2):
            actions = self._actions(number)
            shown = self.console.play(actions[1:])
            count = min(len(shown) // self.frames, clips - have)
            if count:
                games.append((shown, actions[: len(shown)]))
                starts.append(length + self.frames * torch.arange(count))
                ends.append(torch.full((count,), length + len(shown)))
                have, length = have + count, length + len(shown)
            elif number // 2 + 1 >= _TRIES * (len(games) + 1):
                raise UserError(f"games of {self.game} end before {self.frames} frames: set data.source.frames lower")
            if have == clips:
                break
        frames, actions = (torch.cat(each) for each in zip(*games, strict=True))
        return AtariSamples(frames, actions, torch.cat(starts), torch.cat(ends), self.frames, held_out)

    def _actions(self, number: int) -> Tensor:
        """(n,) int64: what the player of a game does, from the frame after the reset on, to which no action led."""
        low, high = self.hold
        length = max(_EPISODE, self.frames)
        choice, hold = Draws(self.recording_seed, torch.tensor([number])).uniform("player", length, 2)[0].unbind(-1)
        action = (choice * self.actions).long().repeat_interleave(low + (hold * (high - low + 1)).long())
        return torch.cat([torch.tensor([NO_ACTION]), action[: length - 1]])

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Nothing is on disk, so nothing is written: the arguments for a short recording of the real game."""
        held_out = max(1, samples // 5)
        return {"clips": max(1, samples - held_out), "held_out": held_out}


class AtariSamples(Samples):
    """Windows of recorded games. Training clips have even numbers, held-out ones odd numbers.

    Args:
        frames: (n, C, H, W) uint8, the frames of one game after another.
        actions: (n,) int64, the action that led to each; -1 for the first of a game.
        starts: (clips,) int64, where each clip begins.
        ends: (clips,) int64, where its game ends.
        length: frames of a clip.
        held_out: these are the clips of the val split.
    """

    def __init__(
        self, frames: Tensor, actions: Tensor, starts: Tensor, ends: Tensor, length: int, held_out: bool
    ) -> None:
        self.frames, self.actions, self.starts, self.ends = frames, actions, starts, ends
        self.length, self.held_out = length, held_out

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Tensor) -> Batch:
        return self._windows(self.starts[index], index)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        start = self.starts[index]
        room = (self.ends[index] - self.length - start).clamp(max=self.length - 1) + 1
        later = Draws(seed, 2 * index + self.held_out, epoch).uniform("start") * room
        return self._windows(start + later.long(), index)

    def _windows(self, start: Tensor, index: Tensor) -> Batch:
        window = start[:, None] + torch.arange(self.length)
        action = self.actions[window]
        action[:, 0] = NO_ACTION  # it led to the first frame from one that the clip does not show
        x = rearrange(self.frames[window].float() / 127.5 - 1, "b t c h w -> b c t h w")
        number = 2 * index + self.held_out
        return {"x": x, "label": torch.full_like(index, NO_CLASS), "sample": number, "action": action}

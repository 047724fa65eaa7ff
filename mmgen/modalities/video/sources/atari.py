"""Clips of an Atari game with the action that led to every frame, played at random and recorded in memory."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, import_optional, nearest
from mmgen.core.vocabulary import NO_ACTION, NO_CLASS
from mmgen.data.sources.base import Batch, Samples, Source, SplitName, require_argument, require_at_least
from mmgen.data.sources.scan import notice

FRAMES_A_SECOND = 60
_EPISODE = 600  # frames; then a new game begins, so that what clips show does not all come late in a few long games
_TRIES = 20  # games in a row that end before they fill a clip
_LONG = 5000  # frames whose recording is worth a notice


class Atari(Source):
    """Clips of a game of ale-py (Bellemare et al. 2013), each frame with the action that led to it; without classes.

    The player acts at random and keeps to each action for some frames. The recording is a function of the arguments
    alone. Training clips and held-out clips come from different games; each game is cut into clips without overlap, and
    training begins each clip somewhere up to the next one's beginning, anew in every epoch. Frames stay in memory as
    bytes: 2,200 clips of 12 frames of 64 x 64 in colour take about 310 MiB.

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
        require_at_least(1, frames=frames, size=size, frame_skip=frame_skip, clips=clips, held_out=held_out)
        require_argument(channels in (1, 3), "channels", "3 for colour or 1 for grey", channels)
        ordered = len(hold) == 2 and 1 <= hold[0] <= hold[1]
        require_argument(ordered, "hold", "the fewest and the most frames of an action", list(hold))
        self.game, self.frames, self.size, self.channels, self.frame_skip = game, frames, size, channels, frame_skip
        self.hold = (int(hold[0]), int(hold[1]))
        self.counts = {"train": clips, "val": held_out}
        self.recording_seed = recording_seed
        self.console = Console(game, size, channels, frame_skip)
        self.action_names = self.console.action_names
        self.sample_shape = (channels, frames, size, size)
        self.fps = FRAMES_A_SECOND / frame_skip

    def load_split(self, split: SplitName) -> Samples:
        """Of as many games as it takes; those to train on have even numbers."""
        clips, held_out = self.counts[split], split == "val"
        if clips * self.frames > _LONG:
            notice(f"recording {clips:,} clips of {self.game}, {clips * self.frames:,} frames; some seconds")
        games, starts, ends, have, length = [], [], [], 0, 0
        for number in range(int(held_out), 10**9, 2):
            actions = self._actions(number)
            played = self.console.play(actions[1:])
            count = min(len(played) // self.frames, clips - have)
            if count:
                games.append((played, actions[: len(played)]))
                starts.append(length + self.frames * torch.arange(count))
                ends.append(torch.full((count,), length + len(played)))
                have, length = have + count, length + len(played)
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
        """A short recording of the real game; nothing is written."""
        held_out = max(1, samples // 5)
        return {"clips": max(1, samples - held_out), "held_out": held_out}


@dataclass(frozen=True, eq=False)
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

    frames: Tensor
    actions: Tensor
    starts: Tensor
    ends: Tensor
    length: int
    held_out: bool

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


class Console:
    """A game of ale-py (the Arcade Learning Environment) in which no action is repeated by chance, and every reset
    starts alike.

    Args:
        game: its name in ale-py, such as `boxing`.
        size: side of a frame, in pixels, whatever the shape of the screen.
        channels: 3 for colour, 1 for luminance.
        frame_skip: frames of the console that each action is held for; the last of them is given out.

    Attributes:
        action_names: a name an action, `noop` first, then such as `up right fire`: those that the game heeds.
    """

    def __init__(self, game: str, size: int, channels: int, frame_skip: int) -> None:
        self.size, self.channels, self.frame_skip = size, channels, frame_skip
        self._console = _open(game)
        self._actions = self._console.getMinimalActionSet()
        words = (re.findall("noop|fire|up|right|left|down", action.name.lower()) for action in self._actions)
        self.action_names = [" ".join(each) for each in words]

    def play(self, actions: Tensor) -> Tensor:
        """(1 + n, channels, size, size) uint8: the frame after a reset, and the one after each action.

        Args:
            actions: (N,) int64; the game may be over before the last of them, and n is then smaller than N.
        """
        self._console.reset_game()
        frames = [self._frame()]
        for action in actions.tolist():
            for _ in range(self.frame_skip):
                self._console.act(self._actions[action])
            if self._console.game_over():
                break
            frames.append(self._frame())
        return torch.from_numpy(np.stack(frames))

    def _frame(self) -> np.ndarray:
        screen = self._console.getScreenRGB() if self.channels == 3 else self._console.getScreenGrayscale()
        # Pillow's filters widen as they shrink, and round alike on every machine.
        small = Image.fromarray(screen).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return rearrange(np.asarray(small).reshape(self.size, self.size, -1), "h w c -> c h w")


def _open(game: str) -> Any:
    ale, roms = (import_optional(name, "the games are in", "ale-py", "data") for name in ("ale_py", "ale_py.roms"))
    known = roms.get_all_rom_ids()
    file = roms.get_rom_path(game) if game in known else None
    if file is None:
        raise UserError(f"ale-py has no game {game!r}{nearest(game, known)}")
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)
    console = ale.ALEInterface()
    console.setInt("random_seed", 0)
    console.setFloat("repeat_action_probability", 0.0)  # action t must be what led to frame t
    console.loadROM(file)
    return console

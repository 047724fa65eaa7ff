"""The emulated game console, through ale-py (the Arcade Learning Environment, Bellemare et al. 2013)."""

import re
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmgen.core.errors import UserError, nearest

FRAMES_A_SECOND = 60


class Console:
    """One game, which does exactly what it is told: no action is repeated by chance, and a reset always starts alike.

    Args:
        game: its name in ale-py, such as `boxing`.
        size: side of a frame that is handed out, in pixels, whatever the shape of the screen.
        channels: 3 for colour, 1 for luminance.
        frame_skip: frames of the console that each action is held for; the last of them is handed out.

    Attributes:
        action_names: a name an action, `noop` first, then such as `up right fire`: those that the game heeds.

    Raises:
        UserError: ale-py is missing or has no such game.
    """

    def __init__(self, game: str, size: int, channels: int, frame_skip: int) -> None:
        self.size, self.channels, self.frame_skip = size, channels, frame_skip
        self._console = _open(game)
        self._actions = self._console.getMinimalActionSet()
        self.action_names = [" ".join(_words(action.name)) for action in self._actions]

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
    try:
        from ale_py import ALEInterface, LoggerMode, roms
    except ImportError:
        raise UserError("the games are in the package ale-py, which is missing: pip install 'mmgen[data]'") from None
    known = roms.get_all_rom_ids()
    file = roms.get_rom_path(game) if game in known else None
    if file is None:
        raise UserError(f"ale-py has no game {game!r}{nearest(game, known)}")
    ALEInterface.setLoggerMode(LoggerMode.Error)
    console = ALEInterface()
    console.setInt("random_seed", 0)
    console.setFloat("repeat_action_probability", 0.0)  # action t must be what led to frame t
    console.loadROM(file)
    return console


def _words(name: str) -> list[str]:
    """`UPRIGHTFIRE` -> up, right, fire."""
    return re.findall("noop|fire|up|right|left|down", name.lower())

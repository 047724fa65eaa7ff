"""`mmgen play`: steer a clip while it is made."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.interruption import Interrupted, interrupted_by
from mmgen.core.terminal import print_safely
from mmgen.core.vocabulary import NO_ACTION
from mmgen.media.images import to_uint8
from mmgen.media.video import write_mp4
from mmgen.modalities.video.actions import read_actions
from mmgen.modalities.video.sample_files import VideoSampling
from mmgen.modalities.video.sampling import stream_clips
from mmgen.sampling.options import all_arguments, takes_sampling
from mmgen.sampling.samples import pick_device
from mmgen.store.store import load_generator


@takes_sampling
def run(
    path: str,
    out: str = "played.mp4",
    mode: str | None = None,
    class_: str | None = None,
    seed: int = 0,
    frames: int = 100,
    context: str | None = None,
    context_frames: int | None = None,
    fps: float | None = None,
    device: str = "auto",
    **options: Any,
) -> None:
    """Make one clip frame by frame, each after an action that is read from the keyboard (or standard input, one a
    line): a name or a number; an empty line repeats the last one, q or the end of the input stops. A terminal shows the
    frames, and the clip is written as MP4.

    Args:
        path: run folder or export of a generator that was trained with actions.
        out: MP4 file, made and never written over.
        mode: way of sampling, one that goes frame by frame; needed where the checkpoint has several.
        class_: class name or number, or `none`.
        seed: key of all that is random.
        frames: at most so many.
        context: what the clip begins with: a video file, an image, or `held_out`.
        context_frames: how many frames of `context` are given; the fewest possible by default.
        fps: frames a second of what is written; those of the data by default.
        device: cpu, cuda, or auto.
    """
    arguments = all_arguments(dict(locals())) | {"num": 1, "batch": 1, "actions": None}
    loaded = load_generator(path).to(pick_device(device))
    command = VideoSampling(loaded, arguments)
    if not (names := loaded.generator.names("actions")):
        raise UserError(f"{path} was trained without actions, so nothing steers it: mmgen sample makes its clips")
    if Path(out).exists():
        raise UserError(f"{out} exists, and nothing is overwritten; choose another --out")
    given = 0 if command.context is None else command.context.shape[2]
    last = 0

    def steer(frame: int) -> Tensor:
        nonlocal last
        if frame < max(given, 1):  # nothing that a person could decide
            return torch.tensor([NO_ACTION]) if command.recorded is None else command.recorded[:, frame]
        while True:
            word = _word(f"frame {frame} ({', '.join(names)}; empty: {names[last]}; q ends): ")
            try:
                last = int(read_actions(word, loaded, 1)) if word else last
                return torch.tensor([last])
            except UserError as error:
                print_safely(error, file=sys.stderr)

    frames_made: list[Tensor] = []
    ended: Interrupted | None = None
    task = replace(command.task, conditions={**command.task.conditions, "actions": steer})
    try:
        for part in stream_clips(task, command.context):
            frames_made.append(part.values[0])
            if sys.stdout.isatty():
                print(terminal_picture(part.values[0, :, -1]))
    except EOFError:
        print()
    except KeyboardInterrupt as stop:
        print()
        ended = interrupted_by(stop)
    if frames_made:
        clip = torch.cat(frames_made, dim=1)
        write_mp4(clip, out, command.fps)
        print_safely(f"{clip.shape[1]} frames: {out}")
    if ended is not None and ended.number != signal.SIGINT:  # Ctrl-C is how a person ends a game
        raise ended


def _word(prompt: str) -> str:
    """The next line; EOFError at the end of the input, or where a person ends."""
    word = input(prompt if sys.stdin.isatty() else "").strip()
    if word == "q":
        raise EOFError
    return word


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

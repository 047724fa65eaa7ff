"""What leads from frame to frame, as a person says it: actions by name or number, in a list, in a file, or recorded."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.core.text_file import read_text
from mmgen.core.vocabulary import NO_ACTION
from mmgen.sampling.samples import name_numbers
from mmgen.store.store import Loaded

RECORDED = "recorded"


def read_actions(text: str, loaded: Loaded, frames: int) -> Tensor:
    """The actions that lead to each of `frames` frames, (frames,) int64: names or numbers separated by commas, which
    are repeated as often as is needed; or a file with one a frame, a JSON list (.json), or one a line or word.

    Raises:
        UserError: the run knows no actions, or not this one; or the file cannot be read, or is too short.
    """
    path = Path(text)
    if not path.is_file():
        listed = torch.tensor(name_numbers([name.strip() for name in text.split(",")], "actions", loaded))
        return listed[torch.arange(frames) % len(listed)]
    numbers = name_numbers(_words(path), "actions", loaded)
    if len(numbers) < frames:
        raise UserError(f"{path} holds {len(numbers)} actions, but {frames} frames are to be generated; add some")
    return torch.tensor(numbers[:frames])


def clip_actions(
    text: str | None, loaded: Loaded, count: int, frames: int, given: int, recorded: Tensor | None
) -> Tensor | None:
    """The actions of `count` clips, (count, frames) int64; None where `text` is None. As for `read_actions`, the first
    one leads to the first generated frame, behind `given` frames of context; `recorded` are those of the clips that the
    context is from, (count, T), also behind the word `recorded`. Without a context no action leads to the first frame.
    Raises UserError where none were recorded, or fewer than frames.
    """
    if text is None:
        return None
    if text == RECORDED:
        if recorded is None:
            raise UserError("--actions recorded are those of held-out clips: it needs --context held_out, with actions")
        if recorded.shape[1] < frames:
            raise UserError(f"{recorded.shape[1]} actions were recorded a clip, but --frames is {frames}; take fewer")
        return recorded[:, :frames]
    start = max(given, 1)
    chosen = read_actions(text, loaded, frames - start).expand(count, -1)
    if recorded is None or given == 0:
        return F.pad(chosen, (start, 0), value=NO_ACTION)
    return torch.cat([recorded[:, :given], chosen], dim=1)


def _words(path: Path) -> Sequence[str]:
    if path.suffix.lower() != ".json":
        return read_text(path).replace(",", " ").split()
    listed = read_json(path)
    if not isinstance(listed, list) or any(isinstance(each, list | dict) for each in listed):
        raise UserError(f"{path} must hold a list of actions, such as [0, 2, 2] or names")
    return [str(each) for each in listed]

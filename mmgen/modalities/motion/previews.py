"""Held-out motions, and what a run makes of them: a tokenizer of each motion, a generator of its class and its text."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.tokens import Tokens
from mmgen.data import DataModule
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import Batch
from mmgen.modalities.motion.drawing import draw_motion, motion_sheet
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import held_out_batch, sample_held_out
from mmgen.training.tokenizer_module import TokenizerModule


@dataclass(frozen=True, eq=False)
class MotionPairs:
    """Held-out motions and what was made of them, each without what fills it up.

    Args:
        name: mode, or `reconstruction`.
        titles: what is done in each, or its number.
        truth: B motions (T, J, 3) in metres, on the CPU.
        made: likewise.
        fps: frames a second.
    """

    name: str
    titles: list[str]
    truth: list[Tensor]
    made: list[Tensor]
    fps: float

    def preview(self) -> Preview:
        """The poses of each held-out motion, and of what was made of it below; in motion they stand side by side."""
        pairs = zip(self.titles, self.truth, self.made)
        rows = [
            row
            for title, real, made in pairs
            for row in ((f"held out: {title}", real), (f"{self.name}: {title}", made))
        ]
        sheet = motion_sheet([motion for _, motion in rows], [title for title, _ in rows], fps=self.fps)
        count = max(map(len, [*self.truth, *self.made]))
        clips = [
            draw_motion(torch.stack([_held(motion, count) for motion in pair])) for pair in zip(self.truth, self.made)
        ]
        return Preview(self.name, pictures=[sheet], clip=torch.cat(clips, 2), fps=self.fps)


@torch.no_grad()
def motion_reconstruction(module: TokenizerModule, data: DataModule, count: int) -> MotionPairs:
    """Held-out motions and their reconstructions."""
    tokenizer, batch = module.tokenizer, held_out_clips(data.samples("val"), count)
    assert isinstance(tokenizer, MotionTokenizer)
    x, lengths = batch["x"].to(module.device), batch.get("length")
    made = tokenizer.decode(tokenizer.encode(x), x.shape[2])
    joints = _joints(x, lengths), _joints(made, lengths)
    return MotionPairs("reconstruction", _titles(batch, data), *joints, tokenizer.fps)


@torch.no_grad()
def motion_samples(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[MotionPairs]:
    """Of every mode the held-out motions, and motions of the same classes, texts and lengths, unless they end by
    themselves; always of the same draws.

    Args:
        module: the generator.
        data: which it is trained on: raw motions or tokens.
        tokenizer: on the module's device.
        count: B.
        options: of sampling.
    """
    assert isinstance(tokenizer, MotionTokenizer)
    batch = held_out_batch(module, data, count)
    tokens: Tokens = batch["tokens"]
    truth = _decoded(tokenizer, tokens.values, tokens.lengths)
    asked = None if module.paradigm.ends else tokens.lengths
    for mode, last in sample_held_out(module, batch, options, asked):
        made = _decoded(tokenizer, last.tokens, asked if last.lengths is None else last.lengths)
        yield MotionPairs(mode, _titles(batch, data), truth, made, tokenizer.fps)


def _decoded(tokenizer: MotionTokenizer, tokens: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """Joints (T, J, 3) of tokens (B, N, ...), each row for itself, since what stands behind its end is no motion."""
    rows = []
    for row, length in enumerate([tokens.shape[1]] * len(tokens) if lengths is None else lengths.tolist()):
        count = max(1, length)  # one that ended at once has a pose
        rows += _joints(tokenizer.decode(Tokens(tokens[row : row + 1, :count], (count, 1, 1))), None)
    return rows


def _joints(x: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """Raw features (B, D, T) -> joints (T, J, 3) on the CPU, each of its own length."""
    joints = features_to_joints(x.float().cpu().mT)
    each = [x.shape[2]] * len(x) if lengths is None else lengths.tolist()
    return [motion[:length] for motion, length in zip(joints, each)]


def _held(motion: Tensor, frames: int) -> Tensor:
    """(T, J, 3) -> (frames, J, 3): it stands still at its end."""
    return torch.cat([motion, motion[-1:].expand(frames - len(motion), -1, -1)])


def _titles(batch: Batch, data: DataModule) -> list[str]:
    """What is done in each motion: its text, or its class; its number where nobody knows."""
    if "text" in batch and data.source.text is not None:
        return [data.source.text.decode(symbols) for symbols in batch["text"].cpu()]
    names, labels = data.source.class_names, batch["label"].tolist()
    return [names[label] if 0 <= label < len(names) else f"motion {n}" for n, label in enumerate(labels, 1)]

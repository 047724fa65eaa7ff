"""What the networks that judge motions share: convolutions over time, training on parts of motions, and a folder."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.judges import JudgeFolder, TrainingRecipe, seeded, train_judge
from mmgen.evaluation.reference import data_name
from mmgen.modalities.motion.features import feature_slices

AT_ONCE = 100
"""Motions in a batch, outside training."""

_CONSTANT = 1e-6  # standard deviation under which a feature is taken never to change


@dataclass(frozen=True)
class MotionRecipe(TrainingRecipe):
    """How such a network is trained."""

    width: int = 64  # channels of the convolutions
    dilations: tuple[int, ...] = (1, 2, 4)  # of the convolutions, in order; each looks at five frames
    steps: int = 250  # of training
    shortest: float = 0.15  # least share of a motion that training sees, since held-out ones may be short
    noise: float = 0.1  # standard deviation of what is added to normalised features in training


class MotionNetwork(nn.Module):
    """Convolutions over time, averaged over the frames of a motion. What stands behind its end changes nothing.

    It sees how the root moves and where the joints are, the first 67 features of 263 (64 of 251), so that it is
    independent of how rotations, velocities and contacts are written.

    Args:
        recipe: widths, and the seed of the first weights.
        mean: (D,) of all features over the training data.
        std: (D,) likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: MotionRecipe, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.recipe, self.inputs = recipe, feature_slices(len(mean))["positions"].stop
        std = std.where(std > _CONSTANT, torch.ones_like(std))
        self.register_buffer("mean", mean[: self.inputs, None].float())
        self.register_buffer("std", std[: self.inputs, None].float())
        sizes = [self.inputs, *[recipe.width] * (len(recipe.dilations) - 1), recipe.features]
        with seeded(recipe.seed):
            self.convolutions = nn.ModuleList(
                nn.Conv1d(before, after, 5, padding=2 * dilation, dilation=dilation)
                for before, after, dilation in zip(sizes, sizes[1:], recipe.dilations)
            )
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in sizes[1:])

    def forward(self, x: Tensor, lengths: Tensor, draws: Draws | None = None) -> Tensor:
        """Raw features (B, D, T), of which the first `lengths` (B,) frames are the motion, to (B, recipe.features),
        none negative. `draws` are of noise, in training.
        """
        x = (x[:, : self.inputs].float() - self.mean) / self.std
        if draws is not None:
            x = x + self.recipe.noise * draws.normal("noise", *x.shape[1:]).to(x)
        inside = (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None].to(x)
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x * inside).mT).mT)
        return (x * inside).sum(2) / lengths[:, None]

    @torch.no_grad()
    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.features), none negative."""
        parts = []
        for start in range(0, len(motions), AT_ONCE):
            some = motions[start : start + AT_ONCE]
            x = nn.utils.rnn.pad_sequence([motion.T for motion in some], batch_first=True).mT
            parts.append(self(x, torch.tensor([motion.shape[1] for motion in some])))
        return torch.cat(parts)


def train_on_motions(
    module: nn.Module, loss: Callable[[Batch, Draws], Tensor], training: Samples, recipe: MotionRecipe
) -> None:
    """`train_judge` on motions as training sees them, each once in every pass; `loss` is of a batch with its draws."""
    numbers = torch.arange(len(training))
    passes = -(-recipe.steps * recipe.batch // len(training))
    order = torch.cat([Draws(recipe.seed, numbers, epoch).uniform("order").argsort() for epoch in range(passes)])
    epochs = torch.arange(passes).repeat_interleave(len(training))

    def losses() -> Iterator[Tensor]:
        for _, index, epoch in zip(range(recipe.steps), order.split(recipe.batch), epochs.split(recipe.batch)):
            batch = training.augmented(index, epoch, recipe.seed)
            yield loss(batch, Draws(recipe.seed, batch["sample"], epoch))

    train_judge(module, losses(), recipe.steps, recipe)


def statistics(source: Source) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a source's features. Raises UserError where it is of no motions."""
    if (moments := source.statistics()) is None:
        raise UserError(f"the data has samples of shape {tuple(source.sample_shape)}, which are no motions")
    return moments


def judge_folder(source: Source, recipe: MotionRecipe, folder: str | Path, file: str, **more: Any) -> JudgeFolder:
    """The place in `folder` of a network that is trained on the training split of a source; those of several data sets
    stand side by side. `more` is what else the network depends on.
    """
    content = b"".join((1e4 * each.double()).round().numpy().tobytes() for each in statistics(source))
    key = {
        "recipe": asdict(recipe),
        "data": f"{data_name(source)} train",
        "count": len(source.samples("train")),
        "sha256_statistics": hashlib.sha256(content).hexdigest()[:16],
        **more,
    }
    return JudgeFolder(Path(folder) / hashlib.sha256(repr(key).encode()).hexdigest()[:12], file, key)


def frames_of(batch: Batch) -> Tensor:
    """(b,) frames of each motion before what fills it up; all where the batch does not say."""
    return batch["length"] if "length" in batch else torch.full((len(batch["x"]),), batch["x"].shape[2])


def motions_of(batch: Batch) -> list[Tensor]:
    """Motions (D, T) of a batch, each without what fills it up."""
    return [x[:, :length] for x, length in zip(batch["x"], frames_of(batch).tolist(), strict=True)]


def cropped(batch: Batch, draws: Draws, shortest: float) -> tuple[Tensor, Tensor]:
    """A part of each motion of a batch, of any length down to the share `shortest` and from anywhere in it: x
    (b, D, T), of which the first frames are the part, and lengths (b,).
    """
    whole, (size, place) = frames_of(batch), draws.uniform("crop", 2).unbind(1)
    lengths = (whole * (shortest + (1 - shortest) * size)).ceil().long().clamp(min=1)
    start = ((whole - lengths + 1) * place).long()
    frames = (start[:, None] + torch.arange(batch["x"].shape[2])).clamp(max=batch["x"].shape[2] - 1)
    return batch["x"].gather(2, frames[:, None].expand_as(batch["x"])), lengths

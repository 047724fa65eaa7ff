"""What the networks that judge motions share: how they look at one, what they learn from, and where they are kept."""

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
from mmgen.evaluation.kept_networks import Kept
from mmgen.evaluation.reference import data_name
from mmgen.evaluation.torch_state import seeded, threads
from mmgen.modalities.motion.features import feature_slices

AT_ONCE = 100
"""Motions that a network looks at together, where nobody trains it."""

_CONSTANT = 1e-6  # standard deviation under which a feature is taken never to change


@dataclass(frozen=True)
class Recipe:
    """How such a network is trained. Anything else here is another network, which is trained anew.

    Args:
        width: channels of the convolutions.
        features: what they make of a motion.
        dilations: of the convolutions, in order; each looks at five frames.
        steps: of training.
        batch: motions a step.
        lr: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        shortest: share of a motion that may be seen of it in training, from anywhere in it, since held-out motions may
            be short.
        noise: standard deviation of what is added to normalised features in training.
        seed: keys the weights at the start, the order, augmentation and noise.
        threads: of torch while it trains: the last bits depend on them, and so in the end all weights.
    """

    width: int = 64
    features: int = 64
    dilations: tuple[int, ...] = (1, 2, 4)
    steps: int = 250
    batch: int = 32
    lr: float = 3e-3
    weight_decay: float = 0.05
    shortest: float = 0.15
    noise: float = 0.1
    seed: int = 0
    threads: int = 1


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

    def __init__(self, recipe: Recipe, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.recipe, self.seen = recipe, feature_slices(len(mean))["positions"].stop
        std = std.where(std > _CONSTANT, torch.ones_like(std))
        self.register_buffer("mean", mean[: self.seen, None].float())
        self.register_buffer("std", std[: self.seen, None].float())
        sizes = [self.seen, *[recipe.width] * (len(recipe.dilations) - 1), recipe.features]
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
        x = (x[:, : self.seen].float() - self.mean) / self.std
        if draws is not None:
            x = x + self.recipe.noise * draws.normal("noise", *x.shape[1:]).to(x)
        inside = (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None].to(x)
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x * inside).mT).mT)
        return (x * inside).sum(2) / lengths[:, None]

    @torch.no_grad()
    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.features), none negative."""
        parts = [padded(motions[start : start + AT_ONCE]) for start in range(0, len(motions), AT_ONCE)]
        return torch.cat([self(x, lengths) for x, lengths in parts])


def fit(
    module: nn.Module,
    loss: Callable[[Batch, Draws], Tensor],
    training: Samples,
    recipe: Recipe,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Train a module that holds a network, which then is in evaluation mode and frozen: a pure function of recipe and
    motions, on any number of cores.

    Args:
        module: as it is made.
        loss: of a batch with its draws.
        training: motions.
        recipe: of the network.
        progress: called after each step with the number of steps that are done.
    """
    optimizer = torch.optim.AdamW(module.train().parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.steps, pct_start=0.2)
    with threads(recipe.threads):
        for step, (batch, draws) in enumerate(_batches(training, recipe), 1):
            optimizer.zero_grad()
            loss(batch, draws).backward()
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step)
    module.eval().requires_grad_(False)


def statistics(source: Source) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a source's features. Raises UserError where it is of no motions."""
    found = source.statistics()
    if found is None:
        raise UserError(f"the data has samples of shape {tuple(source.sample_shape)}, which are no motions")
    return found


def kept_network(source: Source, recipe: Any, folder: Path, about: str, **more: Any) -> Kept:
    """The place of a network of such a recipe, trained on the training split of a source: a folder of its own, so that
    those of several data sets stand side by side.

    Args:
        source: motions.
        recipe: a dataclass.
        folder: of all of them.
        about: name of the JSON file in it.
        more: what else the network depends on.
    """
    content = b"".join((1e4 * each.double()).round().numpy().tobytes() for each in statistics(source))
    key = {
        "recipe": asdict(recipe),
        "data": f"{data_name(source)} train",
        "count": len(source.samples("train")),
        "sha256_statistics": hashlib.sha256(content).hexdigest()[:16],
        **more,
    }
    return Kept(folder / hashlib.sha256(repr(key).encode()).hexdigest()[:12], about, key)


def _batches(training: Samples, recipe: Recipe) -> Iterator[tuple[Batch, Draws]]:
    """`recipe.steps` batches of motions as training sees them, each once in every pass, and their draws."""
    numbers = torch.arange(len(training))
    passes = -(-recipe.steps * recipe.batch // len(training))
    order = torch.cat([Draws(recipe.seed, numbers, epoch).uniform("order").argsort() for epoch in range(passes)])
    epochs = torch.arange(passes).repeat_interleave(len(training))
    chunks = zip(order.split(recipe.batch), epochs.split(recipe.batch))
    for _, (index, epoch) in zip(range(recipe.steps), chunks):
        batch = training.augmented(index, epoch, recipe.seed)
        yield batch, Draws(recipe.seed, batch["sample"], epoch)


def frames_of(batch: Batch) -> Tensor:
    """(b,) frames of each motion before what fills it up; all where the batch does not say."""
    return batch["length"] if "length" in batch else torch.full((len(batch["x"]),), batch["x"].shape[2])


def motions_of(batch: Batch) -> list[Tensor]:
    """Motions (D, T) of a batch, each without what fills it up."""
    return [x[:, :length] for x, length in zip(batch["x"], frames_of(batch).tolist(), strict=True)]


def cropped(batch: Batch, draws: Draws, shortest: float) -> tuple[Tensor, Tensor]:
    """A part of each motion of a batch, of any length down to that share of the whole and from anywhere in it: x
    (b, D, T), of which the first frames are the part, and lengths (b,).
    """
    whole, (size, place) = frames_of(batch), draws.uniform("crop", 2).unbind(1)
    lengths = (whole * (shortest + (1 - shortest) * size)).ceil().long().clamp(min=1)
    start = ((whole - lengths + 1) * place).long()
    frames = (start[:, None] + torch.arange(batch["x"].shape[2])).clamp(max=batch["x"].shape[2] - 1)
    return batch["x"].gather(2, frames[:, None].expand_as(batch["x"])), lengths


def padded(motions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Motions (D, T) as one batch (B, D, T), filled up at their ends, and their lengths (B,)."""
    lengths = torch.tensor([motion.shape[1] for motion in motions])
    x = nn.utils.rnn.pad_sequence([motion.T for motion in motions], batch_first=True)
    return x.mT, lengths

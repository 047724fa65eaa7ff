"""The judge of generated digits: a small convolutional network, trained once on the real ones and kept.

It never sees a held-out digit while it trains, and nothing of the generators enters it. Its last features are what FID,
KID, precision and recall compare; its classes tell whether a conditional sample shows what was asked for.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.data.sources import Samples
from mmgen.evaluation.kept_networks import Kept
from mmgen.evaluation.torch_state import seeded, threads
from mmgen.modalities.image.sources.digits import Digits

FOLDER = Path("runs/classifier-digits")
SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Recipe:
    """How the classifier is trained. Anything else here is another classifier, which is trained anew.

    Args:
        width: channels of the first convolution.
        features: of the last one.
        epochs: passes over the training digits.
        batch: digits a step.
        lr: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        smoothing: of the labels.
        turn: radians that a digit is rotated by at most, either way.
        stretch: share that each axis is scaled by at most.
        shear: of the horizontal axis along the vertical one, at most.
        shift: of each axis, at most, in half sides of the image.
        seed: keys the weights at the start, the order and the distortions.
        threads: of torch while it trains: the last bits depend on them, and so in the end all weights.
    """

    width: int = 16
    features: int = 64
    epochs: int = 16
    batch: int = 50
    lr: float = 6e-3
    weight_decay: float = 0.05
    smoothing: float = 0.05
    turn: float = 0.2
    stretch: float = 0.12
    shear: float = 0.2
    shift: float = 0.1
    seed: int = 0
    threads: int = 1


class Classifier(nn.Module):
    """Five convolutions, an average over the image, a linear layer. Always in evaluation mode once trained.

    Args:
        recipe: width, number of features, and the seed of the first weights.
    """

    name = "digits_cnn"
    distance = "fid"
    classes = 10

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.num_features = recipe.features
        self.protocol = {"resize": "none"}
        self.accuracy = float("nan")
        width = recipe.width
        with seeded(recipe.seed):
            self.body = nn.Sequential(
                *_convolution(1, width, stride=2),
                *_convolution(width, 2 * width),
                *_convolution(2 * width, 2 * width, stride=2),
                *_convolution(2 * width, 4 * width),
                *_convolution(4 * width, recipe.features, stride=2),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            self.head = nn.Linear(recipe.features, self.classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [-1, 1] to (B, num_features), none negative."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)

    def logits(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [-1, 1] to (B, 10)."""
        return self.head(self.features(x))


def digits_classifier(folder: str | Path = FOLDER, progress: bool = True) -> Classifier:
    """The classifier of the real digits: read from its folder, or trained (half a minute, on one core) and put there.

    Args:
        folder: holds model.safetensors and classifier.json; made where there is none. What was trained otherwise, or is
            damaged, is replaced.
        progress: show a bar while training, where somebody watches.

    Raises:
        UserError: the folder cannot be written to, or the digits are missing.
    """
    recipe = Recipe()
    kept, classifier = Kept(Path(folder), "classifier.json", {"recipe": asdict(recipe)}), Classifier(recipe)
    about = kept.read(classifier)
    if about is not None:
        classifier.accuracy = about["accuracy"]
        return classifier.eval().requires_grad_(False)
    kept.prepare()
    digits, started = Digits(), time.perf_counter()
    training, held_out = digits.samples("train"), digits.samples("val")
    if progress:
        from mmgen.core.progress import progress_bar

        with progress_bar("training the digits classifier", recipe.epochs) as bar:
            classifier = train(recipe, training, bar)
    else:
        classifier = train(recipe, training)
    classifier.accuracy = accuracy(classifier, held_out)
    seconds = round(time.perf_counter() - started, 2)
    kept.write(classifier, accuracy=classifier.accuracy, held_out=len(held_out), seconds=seconds)
    return classifier


def train(recipe: Recipe, training: Samples, progress: Callable[[float], None] | None = None) -> Classifier:
    """A classifier of `training`, in evaluation mode and frozen: a pure function of the two, on any number of cores.

    Args:
        recipe: settings.
        training: 28 x 28 digits with their labels; incomplete batches are left out.
        progress: called after each step with the number of epochs that are done.
    """
    classifier = Classifier(recipe).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    batches = len(training) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.epochs * batches, pct_start=0.2
    )
    digits = training.take(torch.arange(len(training)))
    with threads(recipe.threads):
        for epoch in range(recipe.epochs):
            draws = Draws(recipe.seed, digits["sample"], epoch)
            x = distort(digits["x"], draws, recipe)
            order = draws.uniform("order").argsort()
            for step, index in enumerate(order[: batches * recipe.batch].split(recipe.batch), 1):
                loss = F.cross_entropy(
                    classifier.logits(x[index]), digits["label"][index], label_smoothing=recipe.smoothing
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                if progress is not None:
                    progress(epoch + step / batches)
    return classifier.eval().requires_grad_(False)


def distort(x: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Each image (B, 1, H, W) in [-1, 1] turned, stretched, sheared and shifted by its own draws, on black."""
    most = torch.tensor([recipe.turn, recipe.stretch, recipe.stretch, recipe.shear, recipe.shift, recipe.shift])
    turn, wide, high, shear, right, down = ((2 * draws.uniform("distortion", 6) - 1).float() * most).unbind(1)
    across = torch.stack([(1 + wide) * turn.cos(), shear - (1 + high) * turn.sin(), right], dim=-1)
    along = torch.stack([(1 + wide) * turn.sin(), (1 + high) * turn.cos(), down], dim=-1)
    places = F.affine_grid(torch.stack([across, along], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, places, align_corners=False) - 1  # beyond the image it samples 0, which is -1 to us


@torch.no_grad()
def accuracy(classifier: Classifier, samples: Samples) -> float:
    """Share of the samples whose class it names."""
    right = [classifier.logits(batch["x"]).argmax(1) == batch["label"] for batch in samples.batches(500)]
    return torch.cat(right).double().mean().item()


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]

"""The judge of generated digits: a small convolutional network, trained once on the real ones.

It sees no held-out digit in training. FID, KID, precision and recall compare its last features; its classes tell
whether a conditional sample shows the class that was asked for.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.data.sources import Samples
from mmgen.evaluation.judges import JudgeFolder, TrainingRecipe, load_or_train, seeded, train_judge
from mmgen.modalities.image.sources.digits import Digits

FOLDER = Path("runs/classifier-digits")
SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class ClassifierRecipe(TrainingRecipe):
    """How the classifier is trained."""

    batch: int = 50
    lr: float = 6e-3
    width: int = 16  # channels of the first convolution
    epochs: int = 16  # passes over the training digits
    smoothing: float = 0.05  # of the labels
    turn: float = 0.2  # radians that a digit is rotated by at most, either way
    stretch: float = 0.12  # share that each axis is scaled by at most
    shear: float = 0.2  # of the horizontal axis along the vertical one, at most
    shift: float = 0.1  # of each axis, at most, in half sides of the image


class Classifier(nn.Module):
    """Five convolutions, an average over the image, a linear layer.

    Args:
        recipe: width, number of features, and the seed of the first weights.
    """

    name = "digits_cnn"
    distance = "fid"
    classes = 10

    def __init__(self, recipe: ClassifierRecipe) -> None:
        super().__init__()
        self.num_features, self.protocol, self.accuracy = recipe.features, {"resize": "none"}, float("nan")
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [-1, 1] to (B, num_features), none negative."""
        return self.body(x)

    def logits(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [-1, 1] to (B, 10)."""
        return self.head(self.body(x))


def digits_classifier(folder: str | Path = FOLDER) -> Classifier:
    """The classifier of the real digits: read from its folder, or trained (half a minute, on one core) and put there.

    Raises:
        UserError: the folder cannot be written to, or the digits are missing.
    """
    recipe = ClassifierRecipe()

    def fit(classifier: Classifier) -> dict[str, Any]:
        digits = Digits()
        held_out = digits.samples("val")
        train(classifier, recipe, digits.samples("train"))
        return {"accuracy": accuracy(classifier, held_out), "held_out": len(held_out)}

    place = JudgeFolder(Path(folder), "classifier.json", {"recipe": asdict(recipe)})
    classifier, record = load_or_train(place, lambda: Classifier(recipe), fit)
    classifier.accuracy = record["accuracy"]
    return classifier


def train(classifier: Classifier, recipe: ClassifierRecipe, training: Samples) -> None:
    """Train a new classifier on digits with their labels; incomplete batches are left out."""
    batches = len(training) // recipe.batch
    digits = training.take(torch.arange(len(training)))

    def losses() -> Iterator[Tensor]:
        for epoch in range(recipe.epochs):
            draws = Draws(recipe.seed, digits["sample"], epoch)
            x = distort(digits["x"], draws, recipe)
            for index in draws.uniform("order").argsort()[: batches * recipe.batch].split(recipe.batch):
                logits = classifier.logits(x[index])
                yield F.cross_entropy(logits, digits["label"][index], label_smoothing=recipe.smoothing)

    train_judge(classifier, losses(), recipe.epochs * batches, recipe)


def distort(x: Tensor, draws: Draws, recipe: ClassifierRecipe) -> Tensor:
    """Each image (B, 1, H, W) in [-1, 1] turned, stretched, sheared and shifted by its own draws, on black."""
    most = torch.tensor([recipe.turn, recipe.stretch, recipe.stretch, recipe.shear, recipe.shift, recipe.shift])
    turn, wide, high, shear, right, down = ((2 * draws.uniform("distortion", 6) - 1).float() * most).unbind(1)
    across = torch.stack([(1 + wide) * turn.cos(), shear - (1 + high) * turn.sin(), right], dim=-1)
    along = torch.stack([(1 + wide) * turn.sin(), (1 + high) * turn.cos(), down], dim=-1)
    places = F.affine_grid(torch.stack([across, along], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, places, align_corners=False) - 1  # beyond the image it samples 0, which is -1 to us


@torch.no_grad()
def accuracy(classifier: Classifier, samples: Samples) -> float:
    """Share of the samples that it classifies rightly."""
    right = [classifier.logits(batch["x"]).argmax(1) == batch["label"] for batch in samples.batches(500)]
    return torch.cat(right).double().mean().item()


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU()]

"""The judge of generated motions: a small network over time, trained once on the real ones of the data.

It sees no held-out time in training. Its classes tell whether a motion shows the action that was asked for; FID,
diversity and multimodality compare its last features. Its figures compare with others of the same data only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.held_out import all_over
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.judges import load_or_train, seeded
from mmgen.evaluation.reference import Chosen
from mmgen.modalities.motion.evaluation.network import (
    AT_ONCE,
    MotionNetwork,
    MotionRecipe,
    cropped,
    judge_folder,
    motions_of,
    statistics,
    train_on_motions,
)

FOLDER = Path("runs/classifier-motion")

_SMOOTHING = 0.05  # of the labels
_TRAINING = 500  # training motions that it is tested on, at most


class MotionClassifier(nn.Module):
    """Convolutions over time, an average over the motion, a linear layer; `mean` and `std` (D,) are of all features
    over the training data, `accuracy` and `accuracy_training` shares of held-out and training motions.
    """

    name = "motion_cnn"

    def __init__(self, recipe: MotionRecipe, mean: Tensor, std: Tensor, classes: int) -> None:
        super().__init__()
        self.recipe, self.accuracy, self.accuracy_training = recipe, float("nan"), float("nan")
        self.body = MotionNetwork(recipe, mean, std)
        with seeded(recipe.seed):
            self.head = nn.Linear(recipe.features, classes)

    @property
    def protocol(self) -> dict[str, str]:
        """Of its figures."""
        return {
            self.name: f"convolutions over {self.body.inputs} features (root and positions), trained on the training"
            f" split of this data; right about {self.accuracy:.1%} of held-out motions and"
            f" {self.accuracy_training:.1%} of those it learnt from"
        }

    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.features) float64, none negative."""
        return self.body.features(motions).double()

    @torch.no_grad()
    def logits(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) -> (N, classes)."""
        return self.head(self.body.features(motions))


def motion_classifier(source: Source, folder: str | Path = FOLDER) -> MotionClassifier:
    """The classifier of a source's actions: read from its folder in `folder`, or trained (under a minute, on one core)
    and put there. Raises UserError where the folder cannot be written to, or the source has no motions with classes.
    """
    if not source.classes:
        raise UserError("these motions have no classes, so that no classifier can be trained on them")
    recipe = MotionRecipe()

    def fit(classifier: MotionClassifier) -> dict[str, Any]:
        training, held_out = source.samples("train"), source.samples("val")
        train(classifier, training)
        some = Chosen(training, all_over(len(training), min(_TRAINING, len(training))))
        scores = {"accuracy": accuracy(classifier, held_out), "accuracy_training": accuracy(classifier, some)}
        return scores | {"held_out": len(held_out)}

    place = judge_folder(source, recipe, folder, "classifier.json", classes=list(source.class_names))
    classifier, record = load_or_train(
        place, lambda: MotionClassifier(recipe, *statistics(source), source.classes), fit
    )
    classifier.accuracy, classifier.accuracy_training = record["accuracy"], record["accuracy_training"]
    return classifier


def train(classifier: MotionClassifier, training: Samples) -> None:
    """Train a new classifier on motions with their labels, of which those of -1 are left out."""

    def loss(batch: Batch, draws: Draws) -> Tensor:
        parts, labels = cropped(batch, draws, classifier.recipe.shortest), batch["label"]
        logits = classifier.head(classifier.body(*parts, draws))
        nats = F.cross_entropy(logits, labels.clamp(min=0), label_smoothing=_SMOOTHING, reduction="none")
        return nats[labels >= 0].sum() / len(labels)

    train_on_motions(classifier, loss, training, classifier.recipe)


def accuracy(classifier: MotionClassifier, samples: Samples) -> float:
    """Share of the motions of known class that it classifies rightly; 0 where there are none."""
    right: list[Tensor] = []
    for batch in samples.batches(AT_ONCE):
        matches = classifier.logits(motions_of(batch)).argmax(1) == batch["label"]
        right.append(matches[batch["label"] >= 0])
    matches = torch.cat(right)
    return matches.double().mean().item() if len(matches) else 0.0

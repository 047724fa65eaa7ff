"""The judge of generated motions: a small network over time, trained once on the real ones of the data, and kept.

It never sees held-out time while it trains, and nothing of the generators enters it. Its classes tell whether a motion
shows the action that was asked for; its last features are what FID, diversity and multimodality compare. Its figures
can be compared with others of the same data only.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.held_out import all_over
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.reference import Chosen
from mmgen.evaluation.torch_state import seeded
from mmgen.modalities.motion.evaluation.network import (
    AT_ONCE,
    MotionNetwork,
    Recipe,
    cropped,
    fit,
    kept_network,
    motions_of,
    statistics,
)

FOLDER = Path("runs/classifier-motion")

_SMOOTHING = 0.05  # of the labels
_LEARNT = 500  # training motions that it is asked about, at most


class MotionClassifier(nn.Module):
    """Convolutions over time, an average over the motion, a linear layer. Always in evaluation mode once trained.

    Args:
        recipe: of the convolutions.
        mean: (D,) of all features over the training data.
        std: (D,) likewise.
        classes: how many actions there are.

    Attributes:
        accuracy: share of held-out real motions whose class it names: how far it can be trusted itself.
        accuracy_training: the same of those that it learnt from.
    """

    name = "motion_cnn"

    def __init__(self, recipe: Recipe, mean: Tensor, std: Tensor, classes: int) -> None:
        super().__init__()
        self.recipe, self.classes = recipe, classes
        self.accuracy = self.accuracy_training = float("nan")
        self.body = MotionNetwork(recipe, mean, std)
        with seeded(recipe.seed):
            self.head = nn.Linear(recipe.features, classes)

    @property
    def protocol(self) -> dict[str, str]:
        """What is to be said of its figures."""
        seen, right = self.body.seen, (self.accuracy, self.accuracy_training)
        return {
            "motion_cnn": f"convolutions over {seen} features (root and positions), trained on the training split of"
            f" this data; right about {right[0]:.1%} of held-out motions and {right[1]:.1%} of those it learnt from"
        }

    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.features) float64, none negative."""
        return self.body.features(motions).double()

    @torch.no_grad()
    def logits(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) -> (N, classes)."""
        return self.head(self.body.features(motions))


def motion_classifier(source: Source, folder: str | Path = FOLDER) -> MotionClassifier:
    """The classifier of a source's actions: read from its folder, or trained (under a minute, on one core) and put
    there.

    Args:
        source: motions with classes.
        folder: holds a folder a data set. What was trained otherwise, or is damaged, is replaced.

    Raises:
        UserError: the folder cannot be written to, or the source is of no motions, or of none with a class.
    """
    if not source.classes:
        raise UserError("these motions have no classes, so that no classifier can be trained on them")
    recipe, (mean, std) = Recipe(), statistics(source)
    kept = kept_network(source, recipe, Path(folder), "classifier.json", classes=list(source.class_names))
    classifier = MotionClassifier(recipe, mean, std, source.classes)
    about = kept.read(classifier)
    if about is not None:
        classifier.accuracy, classifier.accuracy_training = about["accuracy"], about["accuracy_training"]
        return classifier.eval().requires_grad_(False)
    kept.prepare()
    started, training, held_out = time.perf_counter(), source.samples("train"), source.samples("val")
    classifier = MotionClassifier(recipe, mean, std, source.classes)
    with progress_bar("training the motion classifier", recipe.steps) as bar:
        train(classifier, training, bar)
    some = Chosen(training, all_over(len(training), min(_LEARNT, len(training))))
    classifier.accuracy, classifier.accuracy_training = (accuracy(classifier, each) for each in (held_out, some))
    found = {"accuracy": classifier.accuracy, "accuracy_training": classifier.accuracy_training}
    kept.write(classifier, **found, held_out=len(held_out), seconds=round(time.perf_counter() - started, 2))
    return classifier


def train(classifier: MotionClassifier, training: Samples, progress: Callable[[float], None] | None = None) -> None:
    """Train a new classifier on motions with their labels, of which those of -1 are left out; `progress` is called
    after each step.
    """

    def loss(batch: Batch, draws: Draws) -> Tensor:
        parts, labels = cropped(batch, draws, classifier.recipe.shortest), batch["label"]
        logits = classifier.head(classifier.body(*parts, draws))
        nats = F.cross_entropy(logits, labels.clamp(min=0), label_smoothing=_SMOOTHING, reduction="none")
        return nats[labels >= 0].sum() / len(labels)

    fit(classifier, loss, training, classifier.recipe, progress)


def accuracy(classifier: MotionClassifier, samples: Samples) -> float:
    """Share of the motions of known class whose class it names; of each motion without what fills it up. 0 where there
    are none.
    """
    right: list[Tensor] = []
    for batch in samples.batches(AT_ONCE):
        named = classifier.logits(motions_of(batch)).argmax(1) == batch["label"]
        right.append(named[batch["label"] >= 0])
    named = torch.cat(right)
    return named.double().mean().item() if len(named) else 0.0

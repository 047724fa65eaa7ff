"""Metrics of motions: of joints (T, J, 3) in metres, and of the features (N, F) of networks that judge motions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor

from mmgen.core.terminal import print_safely
from mmgen.data.sources import Source
from mmgen.evaluation.command import Metric
from mmgen.evaluation.metrics import class_accuracy, fid
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier, motion_classifier
from mmgen.modalities.motion.evaluation.text import TextMotion, pool_words, text_motion
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of_features

_LOW, _SLIDES, _WINDOW = 0.05, 0.5, 5  # metres; metres a second; frames

FOOT_SKATE = (
    f"share of frames in which the toes of a foot are below {100 * _LOW:g} cm and move faster than {_SLIDES:g} m/s"
    f" along the floor, then and on average over {_WINDOW} frames (Karunratanakul et al. 2023)"
)
JERK = "mean norm of the third derivative of joints, m/s^3"
_PAIRS = "mean distance of all pairs of features"


@dataclass(frozen=True, eq=False)
class Judges:
    """Networks that look at motions."""

    classifier: MotionClassifier | None  # names actions; None where the data have no classes
    texts: TextMotion | None  # tells whether motions fit texts; None where the data have none

    @classmethod
    def of(cls, source: Source) -> "Judges":
        """Those of a source, trained where they have to be; their scores on held-out motions are printed."""
        classifier = motion_classifier(source) if source.classes else None
        texts = text_motion(source) if source.text is not None else None
        if classifier is not None:
            print_safely(
                f"judge: {classifier.name}, right about {classifier.accuracy:.1%} of held-out motions and"
                f" {classifier.accuracy_training:.1%} of those it learnt from"
            )
        if texts is not None:
            print_safely(f"judge: {texts.name}, R-precision@3 {texts.scores['r_precision_3']:.1%} of held-out motions")
        return cls(classifier, texts)

    def features(self, motions: Sequence[Tensor]) -> Tensor | None:
        """(N, F) features of motions (D, T), by the classifier if there is one; None without a network."""
        network = self.classifier or self.texts
        return None if network is None else network.features(motions)

    def measure(
        self,
        motions: Sequence[Tensor],
        actions: Tensor,
        captions: list[str] | None,
        others: Tensor | None,
        fps: float,
        suffix: str = "",
    ) -> list[Metric]:
        """Metrics of motions, real or not: `label_accuracy`, `fid`, `diversity` and `multimodality`, `r_precision_1` to
        `_3` and `matching_score`, as far as there are judges and actions or captions; `foot_skate` and `jerk`.

        Args:
            motions: (D, T) raw features, on the CPU.
            actions: (n,) int64 classes of the data that they should show; -1 for none.
            captions: texts that they should fit; None for none.
            others: (M, F) features of the motions that they are compared with.
            fps: frames a second.
            suffix: of the names, `_real` for real motions.
        """
        metrics: list[Metric] = []
        network, features, known = self.classifier or self.texts, self.features(motions), actions >= 0
        if self.classifier is not None and bool(known.any()):
            right = class_accuracy(self.classifier.logits(motions)[known], actions[known])
            metrics.append(Metric("label_accuracy", right, self.classifier.name, self.classifier.protocol))
        if network is not None and features is not None and others is not None:
            protocols = {
                "fid": f"{len(features)} motions against {len(others)}",
                "diversity": _PAIRS,
                "multimodality": f"{_PAIRS} of one class, mean over classes",
            }
            values = (fid(others, features), diversity(features), multimodality(features, actions))
            for (name, words), value in zip(protocols.items(), values):
                if value is not None:
                    metrics.append(Metric(name, value, network.name, network.protocol | {name: words}))
        if self.texts is not None and captions is not None:
            how = self.texts.protocol | {"r_precision": pool_words(len(motions))}
            scores = self.texts.measure(motions, captions)
            metrics += [Metric(name, value, self.texts.name, how) for name, value in scores.items()]
        skeleton = skeleton_of_features(len(motions[0]))
        joints = [features_to_joints(motion.mT) for motion in motions]
        for name, value, words in (
            ("foot_skate", mean_of([foot_skate(each, skeleton, fps) for each in joints]), FOOT_SKATE),
            ("jerk", mean_of([jerk(each, fps) for each in joints]), JERK),
        ):
            if value is not None:
                metrics.append(Metric(name, value, protocol={name: words}))
        return [replace(each, metric=f"{each.metric}{suffix}") for each in metrics]


def foot_skate(joints: Tensor, skeleton: Skeleton, fps: float) -> float | None:
    """How often a foot slides that should stand, 0 to 1: the foot skating ratio of GMD (Karunratanakul et al. 2023),
    2.5 cm a frame at 20 frames a second. None for fewer than two frames.
    """
    if len(joints) < 2:
        return None
    toes = joints[:, [skeleton.feet[1], skeleton.feet[3]]]
    speed = fps * toes[..., [0, 2]].diff(dim=0).norm(dim=-1)
    around = F.avg_pool1d(speed.T, _WINDOW, stride=1, padding=_WINDOW // 2).T  # beyond the ends it stands, as published
    low = toes[..., 1] < _LOW
    slides = low[:-1] & low[1:] & (speed > _SLIDES) & (around > _SLIDES)
    return slides.any(1).double().mean().item()


def jerk(joints: Tensor, fps: float) -> float | None:
    """How abruptly joints move, in m/s^3: 0 under constant acceleration. None for fewer than four frames."""
    if len(joints) < 4:
        return None
    return (fps**3 * joints.double().diff(n=3, dim=0).norm(dim=-1).mean()).item()


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that there are; None where there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def diversity(features: Tensor) -> float | None:
    """Mean distance of all pairs of rows (N, F): 0 where all are the same. None for fewer than two."""
    return F.pdist(features.double()).mean().item() if len(features) > 1 else None


def multimodality(features: Tensor, labels: Tensor) -> float | None:
    """How much motions of one class differ: the mean over classes of the mean distance of all pairs.

    Args:
        features: (N, F).
        labels: (N,) int64; negative ones are no class.

    Returns:
        None where no class has two motions.
    """
    return mean_of([diversity(features[labels == label]) for label in labels[labels >= 0].unique()])

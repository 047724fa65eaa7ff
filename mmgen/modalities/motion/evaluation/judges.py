"""Who judges motions: the networks that the data at hand allow, trained where nobody has yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.data.sources import Source
from mmgen.evaluation.command import Metric
from mmgen.evaluation.metrics import class_accuracy, fid
from mmgen.modalities.motion.evaluation.classifier import MotionClassifier, motion_classifier
from mmgen.modalities.motion.evaluation.metrics import (
    FOOT_SKATE,
    JERK,
    diversity,
    foot_skate,
    jerk,
    mean_of,
    multimodality,
)
from mmgen.modalities.motion.evaluation.text import TextMotion, pool_words, text_motion
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.skeleton import skeleton_of_features

_PAIRS = "mean distance of all pairs of features"


@dataclass(frozen=True, eq=False)
class Judges:
    """Networks that look at motions.

    Args:
        classifier: names actions; None where the data have no classes.
        texts: tells whether motions fit texts; None where the data have none.
    """

    classifier: MotionClassifier | None
    texts: TextMotion | None

    @classmethod
    def of(cls, source: Source) -> "Judges":
        """Those of a source; what they make of its held-out motions is printed. Raises UserError as they do."""
        classifier = motion_classifier(source) if source.classes else None
        texts = text_motion(source) if source.text is not None else None
        if classifier is not None:
            held_out, learnt = classifier.accuracy, classifier.accuracy_training
            print(
                f"judge: {classifier.name}, right about {held_out:.1%} of held-out motions and {learnt:.1%} of those it"
                " learnt from"
            )
        if texts is not None:
            print(f"judge: {texts.name}, R-precision@3 {texts.found['r_precision_3']:.1%} of held-out motions")
        return cls(classifier, texts)

    @property
    def eye(self) -> MotionClassifier | TextMotion | None:
        """The network on whose features sets of motions are compared."""
        return self.classifier or self.texts

    def features(self, motions: Sequence[Tensor]) -> Tensor | None:
        """(N, F) of motions (D, T); None where there is no network."""
        return None if self.eye is None else self.eye.features(motions)


@dataclass(frozen=True, eq=False)
class Wanted:
    """What motions should show.

    Args:
        actions: (n,) int64 classes of the data; -1 for none. None where motions were asked for by nothing.
        captions: texts; None where there are none.
    """

    actions: Tensor | None
    captions: list[str] | None


def judged(
    motions: Sequence[Tensor], wanted: Wanted, others: Tensor | None, judges: Judges, fps: float, suffix: str = ""
) -> list[Metric]:
    """Figures of motions, real or not.

    `label_accuracy`, `fid`, `diversity` and `multimodality`, `r_precision_1` to `_3` and `matching_score`, as far as
    there are judges and something to be shown; `foot_skate` and `jerk`.

    Args:
        motions: (D, T) raw features, on the CPU.
        wanted: of each motion.
        others: (M, F) features of the set that they are compared with.
        judges: who look.
        fps: frames a second.
        suffix: of the names, `_real` for real motions.
    """
    figures: list[Metric] = []
    eye, features = judges.eye, judges.features(motions)
    actions = torch.full((len(motions),), -1) if wanted.actions is None else wanted.actions
    known = actions >= 0
    if judges.classifier is not None and bool(known.any()):
        right = class_accuracy(judges.classifier.logits(motions)[known], actions[known])
        figures.append(Metric("label_accuracy", right, judges.classifier.name, judges.classifier.protocol))
    if eye is not None and features is not None and others is not None:
        sets = {"fid": f"{len(features)} motions against {len(others)}"}
        figures.append(Metric("fid", fid(others, features), eye.name, eye.protocol | sets))
        for name, value in (("diversity", diversity(features)), ("multimodality", multimodality(features, actions))):
            if value is not None:
                how = {name: _PAIRS + (" of one class, mean over classes" if name == "multimodality" else "")}
                figures.append(Metric(name, value, eye.name, eye.protocol | how))
    if judges.texts is not None and wanted.captions is not None:
        how = judges.texts.protocol | {"r_precision": pool_words(len(motions))}
        found = judges.texts.measure(motions, wanted.captions)
        figures += [Metric(name, value, judges.texts.name, how) for name, value in found.items()]
    skeleton = skeleton_of_features(len(motions[0]))
    joints = [features_to_joints(motion.mT) for motion in motions]
    for name, value, words in (
        ("foot_skate", mean_of([foot_skate(each, skeleton, fps) for each in joints]), FOOT_SKATE),
        ("jerk", mean_of([jerk(each, fps) for each in joints]), JERK),
    ):
        if value is not None:
            figures.append(Metric(name, value, protocol={name: words}))
    return [Metric(f"{each.metric}{suffix}", each.value, each.network, each.protocol) for each in figures]

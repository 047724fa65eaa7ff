"""The middle of motions is taken away, and modes that see both sides fill it."""

from collections.abc import Callable

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources import Samples, Source
from mmgen.modalities.motion.evaluation.generator import Real
from mmgen.modalities.motion.evaluation.inbetween import Gaps, filled, with_straight_lines
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.page.story import Between
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded


def fill_gaps(
    loaded: Loaded, source: Source, of: str, samples: Samples, shown: int, options: Callable[[str], SampleOptions]
) -> Between | None:
    """What straight lines and each mode that can fill gaps make of the same ones; None where no mode can, or where no
    motion is long enough for a gap.

    Args:
        loaded: the generator.
        source: of the motions.
        of: what they are.
        samples: the motions.
        shown: so many of the longest that are kept to be shown, of an action each as far as there are so many.
        options: mode -> how it is sampled.
    """
    gaps = Gaps.of(Real.of(loaded, source, samples), loaded.spec)
    if not len(gaps):
        return None
    made: dict[str, list[Tensor]] = {}
    for mode in loaded.paradigm.modes():
        try:
            made[mode] = filled(loaded, mode, gaps, options(mode))
        except UserError:  # it goes from the beginning to the end
            continue
    if not made:
        return None
    frames = [(start * gaps.stride, stop * gaps.stride) for start, stop in zip(gaps.start.tolist(), gaps.stop.tolist())]
    real = [features_to_joints(motion.mT) for motion in gaps.held.motions]
    straight = [with_straight_lines(joints, *gap) for joints, gap in zip(real, frames)]
    chosen = unlike(gaps.held.actions.tolist(), gaps.held.lengths.tolist(), shown)
    names = source.class_names
    return Between(
        of=of,
        labels=[names[int(gaps.held.actions[place])] for place in chosen],
        real=[real[place] for place in chosen],
        straight=[straight[place] for place in chosen],
        filled={mode: [joints[place] for place in chosen] for mode, joints in made.items()},
        gaps=[frames[place] for place in chosen],
        straight_mm=gaps.error_mm(straight),
        filled_mm={mode: gaps.error_mm(joints) for mode, joints in made.items()},
        samples=len(gaps),
        seconds=sum(stop - start for start, stop in frames) / len(frames) / gaps.held.fps,
    )


def unlike(actions: list[int], lengths: list[int], count: int) -> list[int]:
    """Places of the longest motions, of an action each as far as there are so many."""
    longest = sorted(range(len(actions)), key=lambda place: -lengths[place])
    first = [place for at, place in enumerate(longest) if actions[place] not in {actions[o] for o in longest[:at]}]
    return (first + [place for place in longest if place not in first])[:count]

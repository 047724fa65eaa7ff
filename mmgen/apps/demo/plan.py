"""How much of the work fits into the time that is left."""

from collections.abc import Sequence
from dataclasses import dataclass

_CAUTION = 0.94
"""Share of the time that is planned for: training slows down when the machine warms up or somebody else uses it."""

_LEAST = 0.1
"""Share of the recipes' steps that are trained in any case: with fewer there is nothing to see, however late it is."""

_ROUND = 30
"""Steps are a multiple of this, so that validations fall evenly."""


@dataclass(frozen=True)
class Costs:
    """What a few steps and samples took on this machine.

    Args:
        training: seconds of all steps that the recipes want, start and validation included.
        sample: seconds of a sample in every mode, and of measuring it.
    """

    training: float
    sample: float


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Args:
        share: of the steps that recipes want.
        samples: a mode, for its figures.
        training: seconds expected for all steps.
        sampling: seconds expected for all samples.
    """

    share: float
    samples: int
    training: float
    sampling: float

    def steps(self, wanted: int) -> int:
        """Of a recipe that wants so many."""
        steps = int(self.share * wanted)
        return min(wanted, max(steps - steps % _ROUND, _ROUND))


def make_plan(left: float, costs: Costs, rest: float, counts: Sequence[int]) -> Plan:
    """Samples take a fifth of the time at most, training what remains, but never more than the recipes want.

    Args:
        left: seconds until the whole should be over.
        costs: measured on this machine.
        rest: seconds of everything after sampling.
        counts: numbers of samples that there may be, the best first.
    """
    samples = next((count for count in counts if count * costs.sample <= left / 5), counts[-1])
    sampling = samples * costs.sample
    share = min(1.0, max(_LEAST, _CAUTION * (left - sampling - rest) / costs.training))
    return Plan(share, samples, share * costs.training, sampling)

"""How much of the work fits into the time that is left."""

from collections.abc import Sequence
from dataclasses import dataclass

CAUTION = 0.94
"""Share of the time that is planned for: training slows down when the machine warms up or somebody else uses it."""

LEAST = 0.1
"""Share of the recipe's steps that are trained in any case: with fewer there is nothing to see, however late it is."""

ROUND = 30
"""Steps are a multiple of this, so that validations fall evenly."""


@dataclass(frozen=True)
class Measured:
    """What a few steps and samples took on this machine.

    Args:
        step: seconds an optimiser step.
        fit: seconds that a fit takes beside its steps: start, validation, checkpoint.
        sample: seconds a sample, summed over all modes.
        always: seconds that sampling takes besides, whatever the number of samples.
    """

    step: float
    fit: float
    sample: float
    always: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Args:
        steps: optimiser steps of the generator.
        samples: a mode, for its figures.
        training: seconds expected for the former.
        sampling: seconds expected for the latter.
    """

    steps: int
    samples: int
    training: float
    sampling: float


def plan(left: float, wanted: int, measured: Measured, rest: float, counts: Sequence[int]) -> Plan:
    """Samples take a fifth of the time at most, training what remains, but never more than the recipe wants.

    Args:
        left: seconds until the whole should be over.
        wanted: the recipe's steps.
        measured: on this machine.
        rest: seconds that everything after sampling takes.
        counts: numbers of samples that there may be, the best first.
    """
    seconds = {count: count * measured.sample + measured.always for count in counts}
    samples = next((count for count in counts if seconds[count] <= left / 5), counts[-1])
    sampling = seconds[samples]
    fits = int(CAUTION * (left - sampling - rest - measured.fit) / measured.step)
    steps = min(wanted, max(fits - fits % ROUND, ROUND, int(LEAST * wanted)))
    return Plan(steps, samples, steps * measured.step + measured.fit, sampling)

"""How much of the work fits into the time that is left."""

from collections.abc import Sequence

_CAUTION = 0.94
"""Share of the time that is planned for: training slows down when the machine warms up or somebody else uses it."""

_LEAST = 0.1
"""Share of a recipe's steps that are trained in any case: with fewer there is nothing to see, however late it is."""

_FIXED = 0.1
"""Share of a training's time that does not depend on the number of steps: its start, validations and checkpoints."""

_ROUND = 30  # steps are a multiple of this, so that validations fall evenly


def plan_steps(wanted: int, left: float, needed: float) -> int:
    """Steps of a recipe that wants so many, where all of them need so many seconds, and so many are left."""
    share = (_CAUTION * left / needed - _FIXED) / (1 - _FIXED)
    steps = int(wanted * min(1.0, max(_LEAST, share)))
    return min(wanted, max(steps - steps % _ROUND, _ROUND))


def plan_samples(counts: Sequence[int], left: float, needed: float) -> int:
    """A number of samples, the best first, where the best needs so many seconds, and so many are left."""
    return next((count for count in counts if needed * count / counts[0] <= left), counts[-1])


def estimate(seconds: float) -> str:
    """A time that is only estimated, no more precisely than it deserves."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min" if seconds >= 570 else f"{round(seconds / 30) / 2:g} min"


def set_up_seconds(started: str | None, now: float) -> float:
    """Seconds since the set-up before the demo began, at a time as `date +%s` writes it; 0 where nobody noted it, or
    not today.
    """
    try:
        passed = now - float(started or "")
    except ValueError:
        return 0.0
    return passed if 0 <= passed < 86_400 else 0.0

"""What the page of a run of motions shows, as plain tensors and numbers: nothing here knows where they came from.

Motions are joints (T, J, 3) in metres, each of its own length.
"""

from dataclasses import dataclass

from torch import Tensor

from mmgen.page.story import Story


@dataclass(frozen=True, eq=False)
class MotionCoder:
    """What a tokenizer keeps.

    Args:
        name: what distinguishes it, such as `residual codes`.
        motions: those of `MotionStory.held_out`, each encoded and decoded again.
        measured: figures over `samples` held-out motions by full name.
        samples: behind `measured`.
        tokens: what it makes of a second, such as `5 tokens a second, each of 8 codes out of 512`.
        command: repeats the measurement.
    """

    name: str
    motions: list[Tensor]
    measured: dict[str, float]
    samples: int
    tokens: str
    command: str


@dataclass(frozen=True, eq=False)
class MotionMode:
    """One way of moving.

    Args:
        name: `ar`, `masked`, `block`, ...
        motions: one of each of `MotionStory.labels`.
        measured: figures over `samples` motions by full name.
        samples: behind `measured`.
        steps: states of the sampler for one batch.
        commands: repeat exactly `motions`.
        measure_command: repeats the figures.
    """

    name: str
    motions: list[Tensor]
    measured: dict[str, float]
    samples: int
    steps: int
    commands: list[str]
    measure_command: str


@dataclass(frozen=True, eq=False)
class Between:
    """Motions whose middle was taken away, and what was put there.

    Args:
        of: what motions these are, such as `held out`.
        labels: the action of each that is shown.
        real: as it was recorded.
        straight: with every joint on a straight line over the gap.
        filled: mode -> with what this mode put into the gap.
        gaps: (start, stop) frames of each gap.
        straight_mm: mean error of straight lines within the gaps of all `samples`.
        filled_mm: mode -> its mean error.
        samples: behind the errors.
        seconds: how long a gap is on average.
    """

    of: str
    labels: list[str]
    real: list[Tensor]
    straight: list[Tensor]
    filled: dict[str, list[Tensor]]
    gaps: list[tuple[int, int]]
    straight_mm: float
    filled_mm: dict[str, float]
    samples: int
    seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class MotionStory(Story):
    """All that the page of a run of motions shows.

    Args:
        fps: frames a second of all motions.
        labels: the actions that the generators know.
        recorded: a motion of training for each of them.
        held_labels: the actions of some held-out motions.
        held_out: these.
        coders: what tokenizers keep of them.
        modes: every way of moving.
        real: what the judges make of real held-out motions, by the names that modes have the same figures under.
        betweens: gaps that were filled; empty where no mode can.
    """

    fps: float
    labels: list[str]
    recorded: list[Tensor]
    held_labels: list[str]
    held_out: list[Tensor]
    coders: list[MotionCoder]
    modes: list[MotionMode]
    real: dict[str, float]
    betweens: list[Between]

    @property
    def accuracy(self) -> str | None:
        """The full name of the share of motions that a judge names rightly; None where it was not measured."""
        return next((name for mode in self.modes for name in mode.measured if name.startswith("label_accuracy")), None)

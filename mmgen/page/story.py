"""What the pages of all modalities show, as plain numbers: nothing here knows where they came from."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curve:
    """Figures over the steps of a run, or over the frames of a clip.

    Args:
        title: names the run.
        unit: of the figures.
        lines: name -> (step, value) pairs, measured while training.
        points: name -> (step, value) pairs, measured on held-out data.
        axis: what is counted from left to right.
        marks: place on that axis -> what begins there.
    """

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    axis: str = "steps"
    marks: dict[float, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MaskPicture:
    """A mask's card.

    Args:
        name: in the catalogue.
        sentence: who sees whom.
        webp: bytes of the picture.
        size: (width, height) at which it is meant to be shown.
        modes: the modes of this checkpoint that train and sample under it.
    """

    name: str
    sentence: str
    webp: bytes
    size: tuple[int, int]
    modes: list[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Story:
    """What is told of every run, whatever it is of.

    Args:
        curves: of the runs.
        masks: those that this checkpoint uses first.
        facts: label -> text about the runs: parameters, steps, machine, versions, date.
        total_seconds: of everything, set-up included.
        commands: what was run, in order.
    """

    curves: list[Curve]
    masks: list[MaskPicture]
    facts: dict[str, str]
    total_seconds: float
    commands: list[str]

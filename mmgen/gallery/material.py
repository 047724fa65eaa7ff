"""What the page shows, as plain tensors and numbers: nothing here knows where they came from."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the tokenizer keeps.

    Args:
        originals: (B, C, H, W) held-out images in [-1, 1].
        decoded: (B, C, H, W), each encoded and decoded again.
        psnr_db: over `samples` held-out images.
        bits_per_image: size of an image as tokens.
        tokens: the grid in words, such as `7 x 7 tokens of 10 bits`.
        samples: held-out images behind `psnr_db`.
        command: repeats the measurement.
    """

    originals: Tensor
    decoded: Tensor
    psnr_db: float
    bits_per_image: float
    tokens: str
    samples: int
    command: str


@dataclass(frozen=True, eq=False)
class Film:
    """A batch while it is sampled.

    Args:
        images: (F, B, C, H, W) each state decoded, in [-1, 1]; meaningful where committed.
        committed: (F, B, T, h, w) bool over the token grid; all True in the last frame.
        passes: F numbers, calls of the network before each state; ascending from 0.
    """

    images: Tensor
    committed: Tensor
    passes: list[int]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.committed) == len(self.passes):
            raise ValueError("a film needs an image, a map of what is committed and a count of passes for every state")

    def cut(self, frames: list[int]) -> "Film":
        """Some of its states."""
        return Film(self.images[frames], self.committed[frames], [self.passes[frame] for frame in frames])


@dataclass(frozen=True, eq=False)
class Mode:
    """One way of sampling the checkpoint.

    Args:
        name: `ar`, `masked`, `block`, ...
        images: (rows * classes, C, H, W) in [-1, 1], where image i is of class i % classes.
        judged: (rows * classes,) bool, whether the classifier sees the wanted class; None where nobody judged.
        film: the first `classes` of these images on their way.
        steps: states from nothing to everything.
        forward_passes: calls of the network for a batch.
        seconds_per_sample: wall clock, in a batch.
        command: repeats exactly these images.
        measured: figures of the mode by full name (`mmgen.results.metric_name`), over `samples` samples.
        samples: behind `measured`.
        measure_command: repeats them.
    """

    name: str
    images: Tensor
    judged: Tensor | None
    film: Film
    steps: int
    forward_passes: int
    seconds_per_sample: float
    command: str
    measured: dict[str, float]
    samples: int
    measure_command: str


@dataclass(frozen=True, eq=False)
class Completion:
    """A real image of which a part was kept, and the rest filled in.

    Args:
        name: what it is, such as `3`.
        told: whether the model knew that.
        original: (C, H, W) in [-1, 1].
        seen: (C, H, W), what the tokens hold of it; meaningful where kept.
        kept: (T, h, w) bool over the token grid.
        filled: mode -> (K, C, H, W) completions.
        commands: mode -> the command that repeats them.
    """

    name: str
    told: bool
    original: Tensor
    seen: Tensor
    kept: Tensor
    filled: dict[str, Tensor]
    commands: dict[str, str]


@dataclass(frozen=True)
class Curve:
    """Figures over the steps of a run.

    Args:
        title: names the run.
        unit: of the figures.
        lines: name -> (step, value) pairs, measured while training.
        points: name -> (step, value) pairs, measured on held-out data.
    """

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


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


@dataclass(frozen=True, eq=False)
class Material:
    """All that the page of an image run shows.

    Args:
        class_names: in order.
        reconstruction: of held-out images.
        modes: every way of sampling.
        completions: of real images.
        curves: of the runs.
        masks: those that this checkpoint uses first.
        judge: name of the classifier that looked at the samples, the extractor in the names of figures.
        judge_accuracy: its share of right answers on held-out data.
        facts: label -> text about the runs: parameters, steps, machine, versions, date.
        total_seconds: of everything, set-up included.
        commands: what was run, in order.
    """

    class_names: list[str]
    reconstruction: Reconstruction
    modes: list[Mode]
    completions: list[Completion]
    curves: list[Curve]
    masks: list[MaskPicture]
    judge: str
    judge_accuracy: float
    facts: dict[str, str]
    total_seconds: float
    commands: list[str]

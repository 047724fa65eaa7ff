"""What the page of an image run shows, as plain tensors and numbers: nothing here knows where they came from."""

from dataclasses import dataclass

from torch import Tensor

from mmgen.page.story import Story


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
        measured: figures of the mode by full name (`mmgen.store.results.metric_name`), over `samples` samples.
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


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageStory(Story):
    """All that the page of an image run shows.

    Args:
        class_names: in order.
        reconstruction: of held-out images.
        modes: every way of sampling.
        completions: of real images.
        judge: name of the classifier that looked at the samples, the extractor in the names of figures.
        judge_accuracy: its share of right answers on held-out data.
    """

    class_names: list[str]
    reconstruction: Reconstruction
    modes: list[Mode]
    completions: list[Completion]
    judge: str
    judge_accuracy: float

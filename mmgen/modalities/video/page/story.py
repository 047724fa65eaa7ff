"""What the page of a video run shows, as plain tensors and numbers: nothing here knows where they came from.

Clips are (B, C, T, H, W) in [-1, 1].
"""

from dataclasses import dataclass

from torch import Tensor

from mmgen.page.story import Story


@dataclass(frozen=True, eq=False)
class ClipReconstruction:
    """What the tokenizer keeps.

    Args:
        originals: held-out clips.
        decoded: the same, each encoded and decoded again.
        measured: figures over `samples` held-out clips by full name: `psnr_db`, and whatever else was measured.
        samples: behind `measured`.
        tokens: the grid in words, such as `12 x 8 x 8 tokens of 10 bits`.
        chunk: frames that it needs at a time in a stream.
        command: repeats the measurement.
    """

    originals: Tensor
    decoded: Tensor
    measured: dict[str, float]
    samples: int
    tokens: str
    chunk: int
    command: str


@dataclass(frozen=True, eq=False)
class Prediction:
    """Held-out clips gone on with from their first frames.

    Args:
        clips: predictions of the clips in `VideoStory.truth`, behind their context.
        psnr: dB of each predicted frame, mean over `samples` clips.
        gain: dB of each over copying the last frame of the context.
        measured: figures over `samples` clips by full name.
        samples: held-out clips behind all of these.
        steps: states of the sampler for one clip.
        command: repeats exactly `clips`.
        measure_command: repeats the figures.
    """

    clips: Tensor
    psnr: list[float]
    gain: list[float]
    measured: dict[str, float]
    samples: int
    steps: int
    command: str
    measure_command: str


@dataclass(frozen=True, eq=False)
class Rollout:
    """Clips that become longer than those of training.

    Args:
        clips: behind the same context as predictions.
        distances: of the frames of each window from real frames, in order of time.
        real_distances: the same of what really came; None where nobody knows that.
        window: frames of a window; the first begins behind the context.
        metric: full name of the figure that says how much they rise.
        drift: its value.
        samples: clips behind the distances.
        command: repeats exactly `clips`.
        measure_command: repeats the distances.
    """

    clips: Tensor
    distances: list[float]
    real_distances: list[float] | None
    window: int
    metric: str
    drift: float
    samples: int
    command: str
    measure_command: str


@dataclass(frozen=True, eq=False)
class VideoMode:
    """One way of sampling the checkpoint.

    Args:
        name: `block`, `frame`, ...
        window: frames in all that a frame sees; None for all.
        prediction: of held-out clips.
        rollout: of the same, longer.
        drawn: clips from nothing, one for each of `VideoStory.chosen`.
        command: repeats exactly `drawn`.
    """

    name: str
    window: int | None
    prediction: Prediction
    rollout: Rollout
    drawn: Tensor
    command: str


@dataclass(frozen=True, eq=False, kw_only=True)
class VideoStory(Story):
    """All that the page of a video run shows.

    Args:
        fps: frames a second.
        trained: frames of a clip in training.
        context: frames that are given.
        truth: held-out clips.
        reconstruction: of held-out clips.
        modes: every way of sampling.
        chosen: the class of each clip that was drawn from nothing; empty where the generator knows none.
    """

    fps: float
    trained: int
    context: int
    truth: Tensor
    reconstruction: ClipReconstruction
    modes: list[VideoMode]
    chosen: list[str]

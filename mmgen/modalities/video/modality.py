"""Clips, as the engine knows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mmgen.core.modality import AppControls, Modality

if TYPE_CHECKING:
    from torch import Tensor

    from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True)
class VideoSampleOptions:
    """Options of `mmgen sample` for clips.

    Args:
        frames: how long; more than the model was trained on is a rollout.
        context: what every clip begins with, a video file or an image, scaled and cut to fit; or `held_out`, for clips
            of the run's data that it was not trained on, another one for each sample.
        context_frames: how many frames of `context` are given; the fewest possible by default.
        actions: what leads to each generated frame, by names or numbers separated by commas, repeated as often as is
            needed; or a file with one a frame (.json: a list; otherwise one a line); or `recorded`, those of the
            held-out clips.
        fps: frames a second of what is written; those of the data by default.
    """

    frames: int | None = None
    context: str | None = None
    context_frames: int | None = None
    actions: str | None = None
    fps: float | None = None


@dataclass(frozen=True)
class VideoReconstructOptions:
    """Options of `mmgen reconstruct` for clips.

    Args:
        fps: how many frames a second are taken; by default the file's own number.
        frames: how many are taken from the beginning; by default as many as the tokenizer was trained on.
    """

    fps: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class VideoEvaluateOptions:
    """Options of `mmgen evaluate` for clips.

    Args:
        context: of a generator: frames of held-out clips that it is given, to predict what comes next; 0 for clips of
            its own.
        frames: of a generator: how many to predict; by default as many as a clip of training leaves.
        rollout: of a generator: predict on to so many times the length of training, and measure its drift.
        extractor: frames_efflite0 (the default), frames_inception or frames_pixels, which look at every frame, or i3d
            (needs `weights`), the network of published FVDs.
        weights: file of Inception's weights, or of I3D as TorchScript, as StyleGAN-V has it.
        trust_code: run the file of I3D, which is a program and can do whatever you can: only for one whose source you
            trust.
        likelihood: of a generator: measure bits per dimension of the held-out clips too.
    """

    context: int = 4
    frames: int | None = None
    rollout: int | None = None
    extractor: str | None = None
    weights: str | None = None
    trust_code: bool = False
    likelihood: bool = False


class VideoModality(Modality):
    """Clips (C, T, H, W) in [-1, 1]."""

    name = "video"
    plural = "clips"
    package = __package__
    unit = "frames"
    app = AppControls(frames=True)
    sample_options = VideoSampleOptions
    reconstruct_options = VideoReconstructOptions
    evaluate_options = VideoEvaluateOptions
    commands: ClassVar = {"play": "steer a clip while it is made, an action a frame"}

    def reconstruction_metrics(
        self, tokenizer: "Tokenizer", made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        from mmgen.media.images import psnr_db

        return {"psnr_db": psnr_db(made, target).mean()}


MODALITY = VideoModality()

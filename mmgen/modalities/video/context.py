"""What sampled clips begin with: frames of held-out clips, of a video file, or one image."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.build import trained_source
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources.scan import IMAGES, VIDEOS
from mmgen.media.image_file import open_image
from mmgen.media.images import crop
from mmgen.media.video import read_clip
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.store import Loaded

HELD_OUT = "held_out"


@dataclass(frozen=True, eq=False)
class Context:
    """The beginnings of B clips: `frames` (B, C, K, H, W) in [-1, 1]; and of the clips that they are from, as far as
    these are known, `labels` (B,) int64, `actions` (B, T) int64 that led to each frame, and `clips` (B, C, T, H, W)
    themselves.
    """

    frames: Tensor | None
    labels: Tensor | None = None
    actions: Tensor | None = None
    clips: Tensor | None = None


def held_out_context(loaded: Loaded, count: int, frames: int) -> Context:
    """The first frames of held-out clips of the data that the run was trained on, another clip for each sample. Raises
    UserError where the data is missing, or holds other or shorter clips.
    """
    source = trained_source(loaded.config, loaded.facts.to_dict(), str(loaded.path))
    shape, expected = tuple(source.sample_shape), require_tokenizer(loaded).sample_shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (expected[0], *expected[2:]):
        raise UserError(f"the data of {loaded.path} has samples of shape {shape}, which do not begin its clips")
    if frames > shape[1]:
        raise UserError(f"context_frames {frames} is more than the {shape[1]} frames of the held-out clips")
    batch = held_out_clips(source.samples("val"), count)
    return Context(batch["x"][:, :, :frames], batch["label"], batch.get("action"), batch["x"])


def file_context(path: str, loaded: Loaded, count: int, frames: int, fps: float) -> Context:
    """The first frames of a video, read at `fps`, or one image, which every sample begins with; scaled and cut to fit.

    Raises:
        UserError: no such file, a damaged one, one that ends too early, or more than one frame of an image.
    """
    channels, _, height, width = require_tokenizer(loaded).sample_shape
    if is_image(path):
        if frames != 1:
            raise UserError(f"{path} is an image, which is one frame: leave --context_frames out (got {frames})")
        clip = crop(open_image(path, channels), (height, width))[:, None]
    else:
        clip = read_clip(path, (channels, frames, height, width), fps)
    return Context(clip.expand(count, *clip.shape))


def is_image(path: str) -> bool:
    """Whether a file is a still image, by its name."""
    return Path(path).suffix.lower() in IMAGES.suffixes - VIDEOS.suffixes

"""Extractors of clips, on whose features the Fréchet video distance compares sets of them (Unterthiner et al. 2019).

Papers quote the distance of I3D's features, which need a file of weights that mmgen does not bring. Without it, the
features of single frames and how they change give a distance under another name.
"""

import hashlib
import warnings
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError, nearest
from mmgen.evaluation.extractors import Extractor, get_extractor
from mmgen.media.images import to_uint8

FRAMES = "frames_"
DEFAULT = "frames_efflite0"
EXTRACTORS = (DEFAULT, "frames_pixels", "frames_inception", "i3d")
"""Names of extractors of clips."""

I3D_SOURCE = "https://github.com/universome/stylegan-v (i3d_torchscript.pt)"


class FrameFeatures:
    """Features of every frame by an extractor of images: their mean over time, and the mean absolute difference between
    neighbouring frames.

    This is NOT I3D, and its distance is no FVD that a paper quotes, so every figure carries the extractor's name
    (`fvd_frames_efflite0`). The order of events does not enter: a clip played backwards has the same features.

    Args:
        image: the extractor of images.
        at_once: frames at a time; few fit the caches of a processor.
    """

    distance = "fvd"

    def __init__(self, image: Extractor, at_once: int = 8) -> None:
        self.image, self.at_once = image, at_once
        self.name = f"{FRAMES}{image.name}"
        self.num_features = 2 * image.num_features
        clip = {"clip": "mean over frames, and mean absolute difference of neighbouring frames; not I3D"}
        self.protocol = image.protocol | clip

    def require_length(self, frames: int) -> None:
        """Raises UserError for clips of one frame."""
        if frames < 2:
            raise UserError(f"extractor {self.name} compares neighbouring frames, and these clips have one")

    @torch.no_grad()
    def frames(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) in [-1, 1] to (B, T, image.num_features), each frame on its own."""
        frames = rearrange(x, "b c t h w -> (b t) c h w").split(self.at_once)
        return rearrange(torch.cat([self.image(each) for each in frames]), "(b t) f -> b t f", b=len(x))

    def clips(self, features: Tensor) -> Tensor:
        """Frames' features (B, T, F), of 2 frames at least, to (B, num_features). Raises UserError for one frame."""
        self.require_length(features.shape[1])
        return torch.cat([features.mean(1), features.diff(dim=1).abs().mean(1)], dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) in [-1, 1] to (B, num_features)."""
        return self.clips(self.frames(x))


class I3D:
    """The features of the published Fréchet video distance: the 400 logits of an I3D trained on Kinetics-400, from the
    TorchScript file of StyleGAN-V (Skorokhodov et al. 2022), a copy of the network of the original implementation.

    It takes bytes as floats from 0 to 255, and itself turns them to [-1, 1] and resizes frames to 224 x 224, as in
    StyleGAN-V's metric. Grey clips become colour with three equal channels. The distance depends on the number of
    frames and of clips: compare figures of equal ones only.

    Args:
        weights: the file.
        device: where it runs.
        trust_code: run it. A TorchScript file is a program, and no weights alone.
    """

    name = "i3d"
    distance = "fvd"
    num_features = 400
    min_frames = 9  # time is halved three times, and two places are left to be averaged

    def __init__(self, weights: Path, device: str = "cpu", trust_code: bool = False) -> None:
        if not weights.is_file():
            raise UserError(f"--weights {weights} does not exist; get I3D's file from {I3D_SOURCE} and name it")
        if not trust_code:
            raise UserError(
                f"--weights {weights} is TorchScript, a program that runs with all your rights: where you trust its"
                " source, add --trust_code"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the file is TorchScript, whatever comes after it
                self.network = torch.jit.load(str(weights), map_location=device).eval()
        except Exception as error:  # what torch raises on another file is open-ended
            raise _error(weights, f"is no TorchScript file ({_line(error)})") from None
        self.weights, self.device = weights, device
        self.protocol = {
            "resize": "to 224 x 224 by the network's own file",
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:8],
        }

    def require_length(self, frames: int) -> None:
        """Raises UserError for clips that are too short."""
        if frames < self.min_frames:
            raise UserError(f"extractor i3d looks at clips of at least {self.min_frames} frames, got {frames}")

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, T, H, W) in [-1, 1], of 9 frames at least, to (B, 400). Raises UserError for shorter clips, or
        where the file holds another network.
        """
        self.require_length(x.shape[2])
        pixels = to_uint8(x).expand(-1, 3, -1, -1, -1).float().to(self.device)
        try:
            features = self.network(pixels, rescale=True, resize=True, return_features=True)
        except Exception as error:  # a TorchScript file of anything else
            raise _error(self.weights, f"holds another network than I3D ({_line(error)})") from None
        if not isinstance(features, Tensor) or tuple(features.shape) != (len(x), self.num_features):
            raise _error(self.weights, f"holds another network than I3D: not {self.num_features} features")
        return features


def get_video_extractor(
    name: str | None,
    shape: tuple[int, ...],
    weights: str | Path | None = None,
    device: str = "cpu",
    trust_code: bool = False,
) -> FrameFeatures | I3D:
    """The extractor of clips (C, T, H, W) of that name; `DEFAULT` if None. Raises UserError for an unknown name, clips
    that it does not take, weights that are missing, wrong or needless, or a program that is not trusted.
    """
    name = DEFAULT if name is None else name
    if name not in EXTRACTORS:
        hint = nearest(name, EXTRACTORS)
        raise UserError(f"there is no extractor {name!r} of clips: choose {' or '.join(EXTRACTORS)}{hint}")
    if weights is not None and name not in ("i3d", "frames_inception"):
        raise UserError(f"--weights is for --extractor i3d or frames_inception, and this is {name}; leave it out")
    if trust_code and name != "i3d":
        raise UserError(f"--trust_code is for --extractor i3d, a program, and this is {name}; leave it out")
    if name != "i3d":
        channels, _, height, width = shape
        image = name.removeprefix(FRAMES)
        return FrameFeatures(get_extractor(image, (channels, height, width), weights=weights, device=device))
    if shape[0] not in (1, 3):
        raise UserError(f"extractor i3d looks at clips (1 or 3, T, H, W), and these samples are {shape}")
    if weights is None:
        raise UserError(f"extractor i3d needs its weights: get {I3D_SOURCE} and name the file: --weights FILE")
    return I3D(Path(weights), device, trust_code)


def _line(error: Exception) -> str:
    """The last line of torch's message: above it stands the trace of the file's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _error(weights: Path, what: str) -> UserError:
    return UserError(f"--weights {weights} {what}; get I3D's file from {I3D_SOURCE} and name it: --weights FILE")

"""Inception's features, those of published FIDs, from a file of weights that the user has: nothing is downloaded."""

import hashlib
import warnings
from pathlib import Path

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.images import to_uint8
from mmgen.media.torch_file import read_weights

WEIGHTS = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"


class Inception:
    """The 2048 features of the InceptionV3 of 2015 that FID was defined on, as torch-fidelity ported it.

    Images are bytes, and are resized to 299 x 299 as TensorFlow 1 did it, without antialiasing: the way of ADM's
    evaluator and of the papers that quote it. Grey images become colour with three equal channels.

    Args:
        weights: torch-fidelity's file, of `WEIGHTS`.
        device: where it runs.

    Raises:
        UserError: torch-fidelity is missing, or the file is not these weights.
    """

    name = "inception"
    distance = "fid"
    num_features = 2048

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise UserError("extractor inception needs the package torch-fidelity: pip install 'mmgen[eval]'") from None
        _check(weights)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # its torch.load of the file, which we have just checked
                network = FeatureExtractorInceptionV3("inception-v3-compat", [str(self.num_features)], str(weights))
        except RuntimeError:
            raise _error(weights, "holds weights of another network") from None
        self.network, self.device, size = network.to(device), device, network.INPUT_IMAGE_SIZE
        self.protocol = {
            "resize": f"bilinear as TensorFlow 1, without antialiasing, to {size} x {size}",
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:8],
        }

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [-1, 1] to (B, 2048)."""
        (features,) = self.network(to_uint8(x).expand(-1, 3, -1, -1).to(self.device))
        return features


def _check(weights: Path) -> None:
    """Raises UserError unless the file holds tensors by name and nothing else: torch-fidelity would run its code."""
    try:
        content = read_weights(weights)
    except UserError:
        raise _error(weights, "is no readable file of weights" if weights.exists() else "does not exist") from None
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise _error(weights, "holds something else than weights")


def _error(weights: Path, what: str) -> UserError:
    return UserError(f"--weights {weights} {what}; get Inception's from {WEIGHTS} and name the file: --weights FILE")

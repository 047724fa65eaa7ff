"""Peak signal-to-noise ratio."""

import math

from torch import Tensor


def psnr_db(made: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) of reconstructions (B, ...), clamped to x's range [-1, 1]; 100 dB at most."""
    mse = (made.float().clamp(-1, 1) - x.float()).square().flatten(1).mean(1)
    return 10 * (math.log10(4) - mse.clamp_min(4e-10).log10())

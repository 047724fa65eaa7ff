"""How far a motion is from the one that it should be, in millimetres."""

import torch
from torch import Tensor

from mmgen.motion.features import features_to_joints

_MILLIMETRES = 1000.0


def position_errors(made: Tensor, real: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
    """Errors of motions, a number (B,) each, not below 0; the mean over frames of each clip.

    - `mpjpe_mm`: mean distance of the joints where the roots are put upon each other in every frame, as MoMask measures
      it (mean per joint position error): how well the poses are kept.
    - `root_mm`: mean distance of the roots, of motions that begin at one place: what errors of the steps add up to.

    Args:
        made: (B, D, T) raw features.
        real: likewise.
        lengths: (B,) int64, the frames that count; all by default.

    Raises:
        UserError: no skeleton has so many features.
    """
    apart = features_to_joints(made.double().mT) - features_to_joints(real.double().mT)
    roots = apart[:, :, 0]
    each = {"mpjpe_mm": (apart - roots[:, :, None]).norm(dim=-1).mean(-1), "root_mm": roots.norm(dim=-1)}
    frames = torch.arange(real.shape[2], device=real.device)
    counts = torch.ones_like(frames, dtype=torch.bool).expand(len(real), -1)
    if lengths is not None:
        counts = frames < lengths[:, None]
    return {
        name: _MILLIMETRES * error.where(counts, 0).sum(1) / counts.sum(1).clamp_min(1) for name, error in each.items()
    }

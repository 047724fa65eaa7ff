"""How far a motion is from the one that it should be, in millimetres."""

import torch
from torch import Tensor

from mmgen.modalities.motion.features import features_to_joints

_MILLIMETRES = 1000.0


def pose_errors(made: Tensor, real: Tensor) -> Tensor:
    """Mean distance of the joints of every frame, in millimetres, the roots put upon each other: made and real
    (..., T, J, 3) -> (..., T) float64, 0 for the same poses.
    """
    apart = made.double() - real.double()
    return _MILLIMETRES * (apart - apart[..., :1, :]).norm(dim=-1).mean(-1)


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
    joints, others = features_to_joints(made.double().mT), features_to_joints(real.double().mT)
    roots = _MILLIMETRES * (joints - others)[:, :, 0].norm(dim=-1)
    each = {"mpjpe_mm": pose_errors(joints, others), "root_mm": roots}
    frames = torch.arange(real.shape[2], device=real.device)
    counts = torch.ones_like(frames, dtype=torch.bool).expand(len(real), -1)
    if lengths is not None:
        counts = frames < lengths[:, None]
    return {name: error.where(counts, 0).sum(1) / counts.sum(1).clamp_min(1) for name, error in each.items()}

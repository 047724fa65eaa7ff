"""Motion files that a command is given, as the features that a model takes."""

from pathlib import Path

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.skeleton import Skeleton


def open_motion(path: str | Path, skeleton: Skeleton, fps: float) -> Tensor:
    """A motion file as raw features (D, T), one frame fewer than it has.

    Args:
        path: a file as `mmgen.modalities.motion.files.read_motion` takes it.
        skeleton: the model's.
        fps: frames a second of the model.

    Raises:
        UserError: as `read_motion`; a motion of another skeleton, or of one frame.
    """
    joints = read_motion(path, fps)
    if joints.shape[1] != len(skeleton):
        raise UserError(
            f"{path} has {joints.shape[1]} joints, but the model moves the {len(skeleton)} of {skeleton.name}'s"
            " skeleton: choose a motion of that skeleton, or a model of the other"
        )
    if len(joints) < 2:
        raise UserError(f"{path} has one frame at {fps:g} a second, and features tell how it goes on: give two or more")
    return joints_to_features(joints).mT.contiguous()

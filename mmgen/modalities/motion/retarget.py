"""The same motion by a body of other proportions."""

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.skeleton import skeleton_of

_SMALLEST = 1e-6  # metres: shorter bones have no direction


def retarget(joints: Tensor) -> Tensor:
    """Joints (T, J, 3) with the bones of their skeleton's rest pose, as the published data sets do before all else.

    Every bone keeps its direction and takes the rest pose's length; the root's way is scaled as the legs are, so that
    feet slide little.

    Raises:
        UserError: the joints are of no skeleton, or not numbers, or the first frame has no legs to measure.
    """
    skeleton = skeleton_of(joints.shape[-2])
    skeleton.check(joints)
    precise, wanted = joints.double(), skeleton.offsets.double().to(joints.device).norm(dim=-1)
    bones = precise - precise[:, [max(parent, 0) for parent in skeleton.parents]]
    legs = [joint for chain in skeleton.chains if chain[-1] in skeleton.feet for joint in chain[2:4]]
    measured = bones[0, legs].norm(dim=-1).sum()
    if measured < _SMALLEST:
        raise UserError("a motion whose legs have no length in its first frame cannot be given other proportions")
    bones = torch.nn.functional.normalize(bones, dim=-1, eps=_SMALLEST) * wanted[:, None]
    placed = [precise[:, 0] * wanted[legs].sum() / measured]
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        placed.append(placed[parent] + bones[:, joint])
    return torch.stack(placed, 1).to(joints.dtype)

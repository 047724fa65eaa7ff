"""Rotations along a tree of joints: from rotations to positions and back.

Quaternions are (w, x, y, z) wherever mmgen shows them. roma, which does the mathematics, has them as (x, y, z, w), and
this file is the only place that turns one into the other.
"""

import math
from collections.abc import Sequence

import roma
import torch
from torch import Tensor

_REACH = 4  # standard deviations after which a Gaussian ends
_SMALLEST = 1e-12  # below this length, a vector has no direction


def forward(parents: Sequence[int], offsets: Tensor, root: Tensor, rotations: Tensor) -> Tensor:
    """Positions (..., J, 3) of joints whose bones are turned.

    Args:
        parents: the parent of each joint, which comes before it; -1 for the root, joint 0.
        offsets: (J, 3) or (..., J, 3), each joint from its parent while nothing is turned.
        root: (..., 3), where joint 0 is.
        rotations: (..., J, 4) unit quaternions (w, x, y, z), each local to the parent's: that of joint j turns the
            bones that begin in j, as in SMPL and BVH. That of a joint without children changes nothing.
    """
    local = to_matrix(rotations)
    offsets = offsets.to(local).expand(*local.shape[:-2], 3)
    turned, placed = [local[..., 0, :, :]], [root.to(local)]
    for joint, parent in enumerate(parents[1:], 1):
        turned.append(turned[parent] @ local[..., joint, :, :])
        placed.append(placed[parent] + (turned[parent] @ offsets[..., joint, :, None])[..., 0])
    return torch.stack(torch.broadcast_tensors(*placed), -2)


def shortest_turn(before: Tensor, after: Tensor) -> Tensor:
    """The smallest rotation (..., 3, 3) that takes the direction of `before` (..., 3) to that of `after` (..., 3).

    Where they are opposite it is a half turn about an axis at right angles to both, and where one has no length nothing
    is turned.
    """
    before, after = torch.broadcast_tensors(before, after)
    u, v = (torch.nn.functional.normalize(x, dim=-1, eps=_SMALLEST) for x in (before, after))
    real, axis = 1 + (u * v).sum(-1, keepdim=True), torch.linalg.cross(u, v)
    # The axis least like u is never parallel to it.
    other = torch.nn.functional.one_hot(u.abs().argmin(-1), 3).to(u)
    opposite = torch.nn.functional.normalize(torch.linalg.cross(u, other), dim=-1)
    xyzw = torch.cat([axis, real], -1).where(real > 1e-9, torch.cat([opposite, torch.zeros_like(real)], -1))
    still = (u.square().sum(-1) < 0.5) | (v.square().sum(-1) < 0.5)
    nothing = roma.identity_quat(xyzw.shape[:-1], dtype=u.dtype, device=u.device)
    return roma.unitquat_to_rotmat(nothing.where(still[..., None], roma.quat_normalize(xyzw)))


def to_matrix(quaternions: Tensor) -> Tensor:
    """Unit quaternions (..., 4) as (w, x, y, z) to rotation matrices (..., 3, 3)."""
    return roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(quaternions))


def to_quaternion(matrices: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4) as (w, x, y, z), with w >= 0."""
    wxyz = roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(matrices))
    return wxyz * torch.where(wxyz[..., :1] < 0, -1, 1)


def turned(quaternions: Tensor, vectors: Tensor) -> Tensor:
    """Rotations (..., 4) as (w, x, y, z), each after a turn: its axis (..., 3), as long as the angle in radians."""
    after = roma.rotvec_to_unitquat(vectors).expand_as(quaternions)
    return roma.quat_xyzw_to_wxyz(roma.quat_product(roma.quat_wxyz_to_xyzw(quaternions), after))


def inverse(parents: Sequence[int], rest: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (J, 3) and rotations (T, J, 4), float64, with which `forward` gives `joints` (T, J, 3) again: exactly
    where bones keep their lengths, and those that begin in one joint their angles to one another; elsewhere it comes
    near. Directions are those of `rest` (J, 3), the pose in which nothing is turned, as far as the body has them. Bones
    turn no more than they must, so that there is no twist along them.
    """
    joints, before = joints.double(), torch.tensor(parents).clamp(min=0)
    bones = joints - joints[:, before]
    directions = torch.nn.functional.normalize(rest.double(), dim=-1, eps=_SMALLEST)
    offsets = directions * bones.norm(dim=-1).quantile(0.5, dim=0)[:, None]
    turns = torch.eye(3, dtype=joints.dtype).repeat(len(joints), len(parents), 1, 1)
    placed = joints.clone()
    for joint, parent in enumerate(parents):
        if joint:
            turns[:, joint] = turns[:, parent]
        children = [child for child, above in enumerate(parents) if above == joint]
        # From where this joint has come to lie, so that misses do not add up along a limb.
        wanted = joints[:, children] - placed[:, joint, None]
        if len(children) == 1:
            turned = turns[:, joint] @ offsets[children[0]]
            turns[:, joint] = shortest_turn(turned, wanted[:, 0]) @ turns[:, joint]
        elif children:
            offsets[children] = _common_shape(offsets[children], bones[:, children])
            turns[:, joint] = _best_turn(offsets[children], wanted)
        placed[:, children] = placed[:, joint, None] + offsets[children] @ turns[:, joint].mT
    local = turns[:, before].mT @ turns
    local[:, 0] = turns[:, 0]
    return offsets, to_quaternion(local)


def _common_shape(rest: Tensor, bones: Tensor) -> Tensor:
    """(K, 3): bones (T, K, 3) as they are to one another on average over time, turned towards `rest` (K, 3)."""
    shape = (_best_turn(rest, bones).mT[:, None] @ bones[..., None])[..., 0].mean(0)
    return shape @ _best_turn(shape, rest[None])[0].T


def _best_turn(before: Tensor, after: Tensor) -> Tensor:
    """Rotations (T, 3, 3) that bring vectors (K, 3) nearest to those of each frame (T, K, 3)."""
    return roma.rigid_vectors_registration(before.expand_as(after), after)


def smoothed(x: Tensor, frames: float) -> Tensor:
    """(T, N) averaged over time under a Gaussian of so many frames standard deviation; before its first frame and after
    its last it is held to stand still.
    """
    reach = math.ceil(_REACH * frames)
    weights = torch.exp(-(torch.arange(-reach, reach + 1).to(x) / frames).square() / 2)
    padded = torch.nn.functional.pad(x.T[:, None], (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(padded, (weights / weights.sum())[None, None])[:, 0].T

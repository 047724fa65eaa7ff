"""The HumanML3D features: what a motion is to published text-to-motion models, and the joints back from it.

Of T frames of J joints they describe T - 1, each relative to where the body faces in it, so that the same walk towards
another wall is the same numbers. Seven groups (`feature_slices`), 12 J - 1 numbers: 263 for 22 joints, 251 for 21.
"""

import math

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.kinematics import shortest_turn, smoothed
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of, skeleton_of_features

_SMOOTHING = 20.0  # frames: standard deviation of the Gaussian over the facing, one second of HumanML3D
_SMALLEST = 1e-9
_MILLIMETRES = 1000.0


def feature_slices(dims: int) -> dict[str, slice]:
    """Where each group of features lies in their last axis of `dims` numbers.

    - `root_yaw` (1): half the turn of the facing to the next frame, in radians.
    - `root_velocity` (2): the root's way along x and z to the next frame, in metres, as seen in the next facing.
    - `root_height` (1): y of the root, in metres above the lowest point of the clip.
    - `positions` (3 (J - 1)): the other joints, x and z from the root, y from the floor, as seen facing +z.
    - `rotations` (6 (J - 1)): each bone's turn relative to the one before it in its chain: two columns of the matrix.
    - `velocities` (3 J): every joint's way to the next frame, in metres, as seen in this facing.
    - `contacts` (4): 1 where a foot stands: left ankle, left foot, right ankle, right foot.

    Raises:
        UserError: no skeleton has so many.
    """
    joints = len(skeleton_of_features(dims))
    sizes = {
        "root_yaw": 1,
        "root_velocity": 2,
        "root_height": 1,
        "positions": 3 * (joints - 1),
        "rotations": 6 * (joints - 1),
        "velocities": 3 * joints,
        "contacts": 4,
    }
    slices, end = {}, 0
    for name, size in sizes.items():
        slices[name] = slice(end, end + size)
        end += size
    return slices


def canonical(joints: Tensor) -> Tensor:
    """Joints (T, J, 3) moved to where `features_to_joints` puts them: the lowest point of the clip at y = 0, the root
    of the first frame over the origin, its hips and shoulders facing +z.

    Raises:
        UserError: another number of joints, positions that are not numbers, or no frame.
    """
    skeleton = _checked(joints)
    precise = joints.detach().double()
    hips, shoulders = _across(precise[0], skeleton)
    start = torch.stack([precise[0, 0, 0], precise[..., 1].min(), precise[0, 0, 2]])
    return _turned(precise - start, -_yaw(hips + shoulders)).to(joints.dtype)


def joints_to_features(joints: Tensor, contact: float = 0.002) -> Tensor:
    """Positions (T, J, 3) in metres, T >= 2, y up, of one of the skeletons, as features (T - 1, 12 J - 1), float32. A
    foot stands where the square of its way to the next frame is below `contact`, in square metres. Raises UserError for
    joints of no skeleton, positions that are not numbers, or one frame.
    """
    placed = canonical(joints.detach().double())
    if len(placed) < 2:
        raise UserError("a motion of one frame has no features, which tell how it goes on: give two frames or more")
    skeleton = skeleton_of(placed.shape[1])
    facing = _facing(placed, skeleton)
    ways = placed.diff(dim=0)
    half_turns = -_wrapped(facing.diff()) / 2
    seen = _turned(placed - placed[:, :1] * placed.new_tensor([1, 0, 1]), -facing[:, None])
    groups = (
        half_turns[:, None],
        _turned(ways[:, 0], -facing[1:])[:, [0, 2]],
        placed[:-1, 0, 1:2],
        seen[:-1, 1:].flatten(1),
        _rotations(placed, facing, skeleton)[:-1].flatten(1),
        _turned(ways, -facing[:-1, None]).flatten(1),
        ways[:, skeleton.feet].square().sum(-1) < contact,
    )
    return torch.cat([group.float() for group in groups], 1)


def features_to_joints(features: Tensor) -> Tensor:
    """Positions (..., T, J, 3) in metres from features (..., T, 12 J - 1), as `canonical` has them.

    Only yaw, root velocity, root height and positions are read ("ric" in the papers). Sums run in float64; the
    result has the features' type, and gradients pass.

    Raises:
        UserError: no skeleton has so many features.
    """
    slices = feature_slices(features.shape[-1])
    yaw, velocity, height, positions = (
        features[..., slices[name]].double() for name in ("root_yaw", "root_velocity", "root_height", "positions")
    )
    # What a frame says leads to the next one; what the last says leads out of the clip.
    facing = -2 * torch.nn.functional.pad(yaw[..., :-1, 0].cumsum(-1), (1, 0))
    x, z = velocity[..., :-1, :].unbind(-1)
    steps = _turned(torch.stack([x, torch.zeros_like(x), z], -1), facing[..., 1:])
    ground = torch.nn.functional.pad(steps.cumsum(-2), (0, 0, 1, 0))
    local = rearrange(positions, "... t (j xyz) -> ... t j xyz", xyz=3)
    others = _turned(local, facing[..., None]) + ground[..., None, :]
    root = torch.stack([ground[..., 0], height[..., 0], ground[..., 2]], -1)
    return torch.cat([root[..., None, :], others], -2).to(features.dtype)


def pose_errors(made: Tensor, real: Tensor) -> Tensor:
    """Mean distance of the joints of every frame, in millimetres, the roots put upon each other: made and real
    (..., T, J, 3) -> (..., T) float64, 0 for the same poses.
    """
    apart = made.double() - real.double()
    return _MILLIMETRES * (apart - apart[..., :1, :]).norm(dim=-1).mean(-1)


def position_errors(made: Tensor, real: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
    """Errors of motions (B, D, T) against real ones, a number (B,) each; the mean over the `lengths` (B,) of their
    frames. `mpjpe_mm` is the mean distance of the joints where the roots are put upon each other in every frame, as
    MoMask measures it; `root_mm` that of the roots, of motions that begin at one place: what errors of the steps add up
    to.
    """
    joints, others = features_to_joints(made.double().mT), features_to_joints(real.double().mT)
    roots = _MILLIMETRES * (joints - others)[:, :, 0].norm(dim=-1)
    each = {"mpjpe_mm": pose_errors(joints, others), "root_mm": roots}
    frames = torch.arange(real.shape[2], device=real.device)
    counts = torch.ones_like(frames, dtype=torch.bool).expand(len(real), -1)
    if lengths is not None:
        counts = frames < lengths[:, None]
    return {name: error.where(counts, 0).sum(1) / counts.sum(1).clamp_min(1) for name, error in each.items()}


def _checked(joints: Tensor) -> Skeleton:
    if joints.ndim != 3:
        raise ValueError(f"joints have shape (T, J, 3), got {tuple(joints.shape)}")
    skeleton = skeleton_of(joints.shape[1])
    skeleton.check(joints)
    return skeleton


def _facing(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Where the body faces in each frame (T,) of canonical joints: radians about y, 0 for +z, a quarter turn for +x.

    All is as in the published files, to their last digit: the hips count against the shoulders, which matters only
    while the two twist, and the first frame, unlike the others, is not smoothed.
    """
    hips, shoulders = _across(joints, skeleton)
    across = shoulders - hips
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=_SMALLEST)
    facing = _yaw(smoothed(across, _SMOOTHING))
    facing[0] = 0
    return facing


def _across(joints: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """From left to right through the hips and through the shoulders of joints (..., J, 3), each (..., 3)."""
    right_hip, left_hip, right_shoulder, left_shoulder = (joints[..., joint, :] for joint in skeleton.across)
    return right_hip - left_hip, right_shoulder - left_shoulder


def _yaw(across: Tensor) -> Tensor:
    """Where a body (...,) faces whose right is at `across` (..., 3): along up x across."""
    return torch.atan2(across[..., 2], -across[..., 0])


def _rotations(joints: Tensor, facing: Tensor, skeleton: Skeleton) -> Tensor:
    """(T, J - 1, 6): the turn of the bone that ends in each joint but the root, two columns of a matrix.

    It is relative to the bone before it in its chain; for the first of a chain, also one that begins at the chest, to
    what turns the facing to +z. So the published features have it.
    """
    before = [0] * len(skeleton)
    for chain in skeleton.chains:
        before[chain[1]] = 0
        for earlier, joint in zip(chain[1:], chain[2:]):
            before[joint] = earlier
    bones = joints[:, 1:] - joints[:, list(skeleton.parents[1:])]
    turns = shortest_turn(skeleton.directions[1:].to(joints), bones)
    root = _turned(torch.eye(3).to(joints), -facing[:, None]).mT  # its rows are the images of the axes
    world = torch.cat([root[:, None], turns], 1)
    local = world[:, before[1:]].mT @ turns
    return rearrange(local[..., :2], "t j row column -> t j (column row)")


def _turned(vectors: Tensor, yaw: Tensor) -> Tensor:
    """(..., 3) turned by `yaw` (...) radians about y, which takes +z towards +x."""
    x, y, z = vectors.unbind(-1)
    sin, cos = yaw.sin(), yaw.cos()
    return torch.stack(torch.broadcast_tensors(x * cos + z * sin, y, z * cos - x * sin), -1)


def _wrapped(angle: Tensor) -> Tensor:
    """The same angle within half a turn of 0."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi

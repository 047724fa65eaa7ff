"""Motions between tensors and files: joints (T, J, 3) in metres on one side, .npy arrays and BVH on the other."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmgen.core.arrays import open_array
from mmgen.core.errors import UserError
from mmgen.core.files import require_regular_file
from mmgen.data.sources.scan import notice
from mmgen.media.folders import write_whole
from mmgen.modalities.motion.bvh import bvh_text, read_bvh
from mmgen.modalities.motion.features import features_to_joints, joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton, skeleton_of
from mmgen.modalities.motion.units import features_in_metres, find_unit, joints_in_metres, legs_of, stand_up

_MOST_FRAMES = 2**18  # of a motion in memory, 3.6 hours at 20 a second

Report = Callable[[str], None]

# A column each: how SMPL's tools, Mixamo, CMU's files (and those that follow them), and Unreal call the same joint. The
# same word may mean another joint elsewhere (a foot is an ankle in most of them), so that one column is read at a time.
_MIDDLE = {
    "pelvis": ("pelvis", "hips", "hips", "pelvis"),
    "spine1": ("spine1", "spine", "lowerback", "spine01"),
    "spine2": ("spine2", "spine1", "spine", "spine02"),
    "spine3": ("spine3", "spine2", "spine1", "spine03"),
    "neck": ("neck", "neck", "neck", "neck01"),
    "head": ("head", "head", "head", "head"),
}
_SIDES = {
    "hip": ("hip", "upleg", "upleg", "thigh"),
    "knee": ("knee", "leg", "leg", "calf"),
    "ankle": ("ankle", "foot", "foot", "foot"),
    "foot": ("foot", "toebase|toe", "toebase|toe", "ball"),
    "collar": ("collar", "shoulder", "shoulder", "clavicle"),
    "shoulder": ("shoulder", "arm", "arm", "upperarm"),
    "elbow": ("elbow", "forearm", "forearm", "lowerarm"),
    "wrist": ("wrist", "hand", "hand", "hand"),
}
_STYLES = ("SMPL", "Mixamo", "CMU", "Unreal")


def read_motion(path: str | Path, fps: float = 20.0, report: Report = notice) -> Tensor:
    """A motion file as joints (T, J, 3) in metres, float32.

    Args:
        path: `.npy` with joints (T, 22 or 21, 3) in metres or features (T, 263 or 251), at `fps` already; or `.bvh`,
            whose joints are found by their names, given as HumanML3D's 22, and brought to `fps` from the file's rate. A
            file does not name its unit: it is taken for the one in which the legs have a person's length. Nor does it
            say which way is up: it is the way in which a person at rest stands in a BVH file.
        fps: frames a second of the result.
        report: takes a line for each thing that was taken otherwise than the file says.

    Raises:
        UserError: no such file, one that is neither or is damaged, positions that are not numbers, no frames, another
            number of joints, or joints of a BVH file that cannot be found by name.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".npy", ".bvh"):
        raise UserError(f"{path} is no motion: files end in .npy or .bvh")
    if not 0.01 <= fps <= 1000:  # also refuses NaN
        raise UserError(f"a motion cannot have {fps:g} frames a second; give a number between 0.01 and 1000")
    if Path(path).is_dir() or not Path(path).exists():
        raise UserError(f"{path} {'is a folder, not a motion' if Path(path).is_dir() else 'does not exist'}")
    require_regular_file(path)
    joints = (_read_bvh(path, fps, report) if suffix == ".bvh" else _read_array(path, report)).float()
    skeleton_of(joints.shape[1]).check(joints, f"{path}: a motion")
    return joints


def open_motion(path: str | Path, skeleton: Skeleton, fps: float) -> Tensor:
    """A motion file, as `read_motion` takes it, as raw features (D, T), one frame fewer than it has. Raises UserError
    for a motion of another skeleton than the model's, or of one frame.
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


def write_npy(joints: Tensor, path: str | Path) -> None:
    """Joints (T, J, 3) in metres to a `.npy` file, float32.

    Raises:
        UserError: they are of no skeleton, or not numbers, or the file cannot be written.
    """
    skeleton_of(joints.shape[-2]).check(joints)
    try:
        file = io.BytesIO()
        np.save(file, joints.detach().cpu().float().numpy(), allow_pickle=False)
        write_whole(path, file.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def write_bvh(joints: Tensor, path: str | Path, fps: float = 20.0) -> None:
    """Joints (T, J, 3) in metres to a BVH file in centimetres, as `mmgen.modalities.motion.bvh.bvh_text`.

    Raises:
        UserError: they are of no skeleton, or not numbers, or the file cannot be written.
    """
    text = bvh_text(joints, fps)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def resample_motion(joints: Tensor, before: float, after: float) -> Tensor:
    """Joints (T, J, 3) at `before` frames a second as those at `after`, on straight lines between the frames; the
    result ends no later than they do.
    """
    count = int((len(joints) - 1) * after / before + 1e-6) + 1
    times = (torch.arange(count, dtype=torch.float64) * before / after).clamp(max=len(joints) - 1)
    earlier = times.long().clamp(max=max(len(joints) - 2, 0))
    later = (earlier + 1).clamp(max=len(joints) - 1)
    return torch.lerp(joints[earlier], joints[later], (times - earlier).to(joints)[:, None, None])


def _read_array(path: str | Path, report: Report) -> Tensor:
    array = open_array(path)
    skeletons = (HUMANML3D, KIT)
    shapes = [s for skeleton in skeletons for s in (f"(frames, {len(skeleton)}, 3)", f"(frames, {skeleton.features})")]
    ends = [end for skeleton in skeletons for end in ((len(skeleton), 3), (skeleton.features,))]
    if array.shape[1:] not in ends or not len(array):
        raise UserError(f"{path} has shape {array.shape}, but a motion is one of {', '.join(shapes)}")
    motion = torch.from_numpy(array.astype(np.float64))
    if motion.ndim == 3:
        skeleton = skeleton_of(motion.shape[1])
        skeleton.check(motion, f"{path}: a motion")
        motion, remark = joints_in_metres(motion, skeleton)
        if remark:
            report(f"{path}: {remark}")
        return motion
    if not motion.isfinite().all():
        raise UserError(f"{path} holds features that are not numbers (NaN or infinite)")
    motion, remark = features_in_metres(motion)
    if remark:
        report(f"{path}: {remark}")
    return features_to_joints(motion)


def _read_bvh(path: str | Path, fps: float, report: Report) -> Tensor:
    file = read_bvh(path)
    count = len(file.table)
    if count > file.claimed:
        report(f"{path} says that it has {file.claimed:,} frames, and has {count:,}: all of them are read")
    if (count - 1) * fps / file.fps > _MOST_FRAMES:
        raise UserError(
            f"{path} lasts {count / file.fps:,.0f} s, more than {_MOST_FRAMES:,} frames at {fps:g} a second: cut it"
        )
    places = find_joints(file.names, path)
    joints, remark = stand_up(file.joints(1.0, places), file.rest()[places])
    if remark:
        report(f"{path}: {remark}")
    HUMANML3D.check(joints, f"{path}: a motion")
    legs = legs_of(joints, HUMANML3D)
    if not legs > 0:
        raise UserError(f"{path} has legs of length {legs:g}")
    unit = find_unit(legs)
    if unit is None:
        knee, ankle = (HUMANML3D.joints.index(f"left_{part}") for part in ("knee", "ankle"))
        usual = HUMANML3D.offsets[[knee, ankle]].norm(dim=-1).sum().item()
        report(f"{path}: its legs are {legs:.3g} long in a unit that is not known, and are taken for {usual:.2g} m")
        unit = "", usual / legs
    return resample_motion(joints * unit[1], file.fps, fps)


def find_joints(names: Sequence[str], path: str | Path = "the file") -> list[int]:
    """Where each joint of HumanML3D's skeleton stands among `names`. Case, prefixes (`mixamorig:`), `L_`, `left_` or
    `_l`, and signs between words do not matter. Raises UserError where some cannot be found, named as the style says
    them that fits best.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(_plain(name), place)
    columns = [_find(places, style) for style in range(len(_STYLES))]
    style = min(range(len(_STYLES)), key=lambda style: columns[style].count(None))
    best = [place for place in columns[style] if place is not None]
    if len(best) < len(HUMANML3D):
        missing = [
            f"{joint} ({_called(joint, style).replace('|', ' or ')})"
            for joint, place in zip(HUMANML3D.joints, columns[style])
            if place is None
        ]
        raise UserError(
            f"{path} has no joint that is {', '.join(missing)} among {', '.join(names[:40])}; "
            f"names are looked for as {', '.join(_STYLES)} have them: rename those joints"
        )
    return best


def _find(places: dict[str, int], style: int) -> list[int | None]:
    return [
        next((places[word] for word in _called(joint, style).split("|") if word in places), None)
        for joint in HUMANML3D.joints
    ]


def _called(joint: str, style: int) -> str:
    """The plain names of a joint in a style, with a bar between them."""
    if joint in _MIDDLE:
        return _MIDDLE[joint][style]
    side, part = joint.split("_")
    return "|".join(side[0] + word for word in _SIDES[part][style].split("|"))


def _plain(name: str) -> str:
    """`mixamorig:LeftUpLeg`, `left_up_leg` and `upleg_l` alike as `lupleg`."""
    name = re.sub(r"^(mixamorig\d*|[mf]_avg_)", "", name.rsplit(":", 1)[-1].lower())
    name = re.sub(r"^(.+)[_.-]([lr])$", r"\2\1", name)
    name = re.sub(r"^(left|right)", lambda match: match[1][0], name)
    return re.sub(r"[^a-z0-9]", "", name)

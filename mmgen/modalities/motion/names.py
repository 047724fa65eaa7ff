"""Which joint of a file is which joint of HumanML3D's skeleton, by the names that programs give them."""

import re
from collections.abc import Sequence
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.modalities.motion.skeleton import HUMANML3D

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


def find_joints(names: Sequence[str], path: str | Path = "the file") -> list[int]:
    """Where each joint of HumanML3D's skeleton stands among `names`.

    Case, prefixes (`mixamorig:`), `L_`, `left_` or `_l`, and signs between words do not matter.

    Raises:
        UserError: some cannot be found; the message names them as the style says them that fits best.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(_plain(name), place)
    found = [_find(places, style) for style in range(len(_STYLES))]
    style = min(range(len(_STYLES)), key=lambda style: found[style].count(None))
    best = [place for place in found[style] if place is not None]
    if len(best) < len(HUMANML3D):
        missing = [
            f"{joint} ({_called(joint, style).replace('|', ' or ')})"
            for joint, place in zip(HUMANML3D.joints, found[style])
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

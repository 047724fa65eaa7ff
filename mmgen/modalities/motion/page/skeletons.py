"""Skeletons that move on a page: joints, which a script draws, over a picture of poses for where none runs."""

import base64
import json
from pathlib import Path

import torch
from markupsafe import Markup
from torch import Tensor

from mmgen.modalities.motion.drawing import motion_strip
from mmgen.modalities.motion.features import canonical
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of
from mmgen.modalities.motion.smoothing import smoothed
from mmgen.page.page import macros
from mmgen.page.tiles import picture, pixels

POSES, SIZE = 3, (150, 100)
"""Of the picture, and (H, W) of each pose."""

_LAG = 5.0  # frames: how softly the view follows the root
_FARTHEST = 32_767  # millimetres that two bytes hold
templates = macros(Path(__file__).parent / "templates" / "motion.html")


def animate_skeleton(joints: Tensor, fps: float, alt: str, made: tuple[int, int] | None = None) -> Markup:
    """A motion that the script of the page draws, turned so that it begins with its face to the front.

    The script gets its points, (T, J + 1, 3) little-endian int16 in millimetres, as base64; the last point of a frame
    is the middle of the view.

    Args:
        joints: (T, J, 3) in metres.
        fps: frames a second.
        alt: what it is, for readers who cannot see it.
        made: (start, stop) frames from a generator, the others are drawn pale; all by default.
    """
    posed = canonical(joints.detach().cpu().double())
    middle = smoothed(posed[:, :1].flatten(1), _LAG)[:, None]
    middle[..., 1] = posed[..., 1].max() / 2
    points = (torch.cat([posed, middle], 1) * 1000).round().clamp(-_FARTHEST, _FARTHEST).numpy().astype("<i2")
    still = picture(pixels(motion_strip(joints, POSES, SIZE, fps)), alt)
    places = base64.b64encode(points.tobytes()).decode("ascii")
    person: Markup = templates.person(still, places, points.shape[1], made or (0, len(points)))
    return person


def bones(joints: int) -> str:
    """The bones of a skeleton of so many joints, as JSON: [joint, joint, side], the side one of `left`, `right` and
    `middle`; and the head, [neck, head], last.
    """
    skeleton = skeleton_of(joints)
    sides = [[parent, joint, _side(skeleton, joint)] for joint, parent in enumerate(skeleton.parents[1:], 1)]
    return json.dumps([*sides, list(skeleton.chains[2][-2:])])


def _side(skeleton: Skeleton, joint: int) -> str:
    """Hips and collars belong to the trunk, whose outline they are."""
    if any(joint in pair for pair in skeleton.pairs):
        limb = next(chain for chain in skeleton.chains if joint in chain)
        begins = next(place for place, each in enumerate(limb) if each in skeleton.across)
        if limb.index(joint) > begins:
            return "left" if any(joint == left for left, _ in skeleton.pairs) else "right"
    return "middle"

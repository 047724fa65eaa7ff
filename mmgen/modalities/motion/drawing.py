"""Drawings of motions: clips for `media.video`, strips of poses, sheets of strips. Pillow alone, so they come soon.

The person's left is blue, the right orange, the rest dark. Every motion is seen from the front and a little from its
left, whichever way it was recorded; the lines on the floor are half a metre apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mmgen.media.images import from_pil, load_font, wrap_text
from mmgen.modalities.motion.features import canonical
from mmgen.modalities.motion.kinematics import smoothed
from mmgen.modalities.motion.skeleton import Skeleton, skeleton_of

Colour = tuple[int, int, int]
INK, FADED, PAPER, LINE, SHADOW = (31, 35, 40), (98, 108, 119), (248, 249, 250), (214, 220, 227), (217, 221, 226)
LEFT, RIGHT, MIDDLE, TRUNK = (42, 120, 194), (226, 88, 59), (74, 83, 94), (168, 176, 186)
_FINER = 4  # drawn so many times larger, then scaled down: that smooths the edges
_FILLED = 0.84  # of a picture's height or width, at most, that the person takes up
_LAG = 5.0  # frames: how softly the camera follows the root
_GRID, _FAR = 0.5, 3.5  # metres between the lines on the floor, and to where they fade away
_CAPTION = 18  # pixels beneath a pose
_LIMB, _HEAD, _HALO = 0.075, 0.105, 0.022  # metres: thickness of a limb, radius of the head, a rim around limbs
_AZIMUTH, _ELEVATION = math.radians(38), math.radians(13)  # of the camera, from +z towards +x and from the floor
_LENS = 4.0  # focal length in halves of the picture's smaller side: long, so that limbs keep their proportions
_NEAREST = 0.5  # metres before the lens; what is nearer is not seen


@dataclass(frozen=True)
class Camera:
    """Looks at a person who faces +z from the front, a little from the left and from above.

    Args:
        target: (T, 3), what is in the middle of the picture in each frame, in metres.
        size: (H, W) of the picture.
        distance: metres from the lens to the target.
    """

    target: Tensor
    size: tuple[int, int]
    distance: float = 5.0

    def fitted(self, points: Tensor, filled: float) -> "Camera":
        """As near as it may come for all `points` (T, N, 3) to lie in the middle `filled` part of the picture."""
        side, up, near = self._axes(points)
        height, width = self.size
        half = min(self.size) / 2
        reach = torch.maximum(side.abs() * half / width, up.abs() * half / height)
        return replace(self, distance=float((near + reach * 2 * _LENS / filled).max()))

    def project(self, points: Tensor) -> Tensor:
        """Points (T, ..., 3) to pixels from the left, pixels from the top, and pixels a metre there, 0 where unseen."""
        side, up, near = self._axes(points)
        height, width = self.size
        depth = self.distance - near
        scale = torch.where(depth > _NEAREST, _LENS * min(self.size) / 2 / depth.clamp(min=_NEAREST), 0)
        return torch.stack([width / 2 + side * scale, height / 2 - up * scale, scale], -1)

    def _axes(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far points lie to the right of the target, above it and before it, as the camera has them."""
        sin, cos = math.sin(_AZIMUTH), math.cos(_AZIMUTH)
        low, high = math.cos(_ELEVATION), math.sin(_ELEVATION)
        axes = points.new_tensor([[cos, 0, -sin], [-sin * high, low, -cos * high], [sin * low, high, cos * low]])
        target = self.target.to(points).reshape(len(self.target), *[1] * (points.ndim - 2), 3)
        side, up, near = ((points - target) @ axes.T).unbind(-1)
        return side, up, near


def draw_motion(joints: Tensor, size: tuple[int, int] = (192, 192)) -> Tensor:
    """Motions (T, J, 3) in metres as a clip (3, T, H, W) in [-1, 1]; (P, T, J, 3) are drawn side by side, H x (P W).
    The camera follows the root and stands where the whole clip fits. Raises UserError for joints of no skeleton, or
    that are not numbers.
    """
    people = [_prepared(motion) for motion in (joints if joints.ndim == 4 else joints[None])]
    cameras = [_camera(person, size, lag=_LAG) for person in people]
    distance = max(camera.distance for camera in cameras)
    clips = [_clip(person, replace(camera, distance=distance)) for person, camera in zip(people, cameras)]
    return torch.cat(clips, -1)


def motion_strip(joints: Tensor, poses: int = 8, size: tuple[int, int] = (176, 112), fps: float = 20.0) -> Tensor:
    """`poses` of a motion (T, J, 3) in metres at even times from its first frame to its last, from left to right, (3,
    H, poses W) in [-1, 1], each of `size` (H, W), with its time beneath; all of fewer frames. Raises UserError for
    joints of no skeleton, or that are not numbers.
    """
    return from_pil(_strip(joints, poses, size, fps))


def motion_sheet(
    motions: Sequence[Tensor],
    titles: Sequence[str],
    poses: int = 8,
    size: tuple[int, int] = (176, 112),
    fps: float = 20.0,
) -> Tensor:
    """A row for each motion, its title above its strip (see `motion_strip`): (3, H', poses W) in [-1, 1].

    Raises:
        UserError: the joints are of no skeleton, or not numbers.
    """
    if len(motions) != len(titles) or not motions:
        raise ValueError(f"a sheet has a title for each motion, and one at least, got {len(titles)} for {len(motions)}")
    margin, font = 12, load_font(15)
    rows: list[tuple[str, Image.Image]] = []
    for motion, title in zip(motions, titles):
        strip = _strip(motion, poses, size, fps)
        rows.append(("\n".join(wrap_text(title, font, poses * size[1] - 2 * margin)), strip))
    heights = [20 * (1 + title.count("\n")) + margin for title, _ in rows]
    sheet = Image.new("RGB", (poses * size[1], sum(heights) + len(rows) * size[0]), PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for (title, strip), height in zip(rows, heights):
        if top:
            draw.line([0, top, sheet.width, top], LINE)
        draw.text((margin, top + margin * 0.75), title, INK, font)
        sheet.paste(strip, (0, top + height))
        top += height + size[0]
    return from_pil(sheet)


def standing_still(joints: Tensor, frames: int) -> Tensor:
    """(T, J, 3) -> (frames, J, 3): the last pose goes on."""
    return torch.cat([joints, joints[-1:].expand(frames - len(joints), -1, -1)])


def _prepared(joints: Tensor) -> Tensor:
    return canonical(joints.detach().cpu().double())


def _camera(joints: Tensor, size: tuple[int, int], lag: float | None = None) -> Camera:
    """One that all of (T, J, 3) fits before; at the root in every frame, or behind it by some frames."""
    target = joints[:, 0].clone() if lag is None else smoothed(joints[:, 0], lag)
    target[:, 1] = _heads(joints)[..., 1].max() / 2
    camera = Camera(target, (size[0] * _FINER, size[1] * _FINER))
    return camera.fitted(torch.cat([joints, _heads(joints)], 1), _FILLED)


def _clip(joints: Tensor, camera: Camera) -> Tensor:
    """(3, T, H, W) of one person."""
    skeleton = skeleton_of(joints.shape[1])
    floor, fade = _floor(camera)
    trail = camera.project(_dropped(joints[:, 0]).expand(len(joints), -1, -1))
    shade, body, head = (camera.project(points) for points in (_dropped(joints), joints, _heads(joints)))
    frames = []
    for time in range(len(joints)):
        image = Image.new("RGB", camera.size[::-1], PAPER)
        draw = ImageDraw.Draw(image)
        _draw_floor(draw, floor[time], fade[time])
        _draw_line(draw, trail[time, : time + 1], 0.02, SHADOW)
        _draw_shadow(draw, shade[time], skeleton)
        _draw_body(draw, body[time], head[time], skeleton)
        frames.append(from_pil(image.reduce(_FINER)))
    return torch.stack(frames, 1)


def _strip(joints: Tensor, poses: int, size: tuple[int, int], fps: float) -> Image.Image:
    skeleton = skeleton_of(joints.shape[-2])
    whole = _prepared(joints)
    chosen = torch.linspace(0, len(whole) - 1, min(poses, len(whole)), dtype=torch.float64).round().long()
    posed = whole[chosen]
    camera = _camera(posed, (size[0] - _CAPTION, size[1]))
    image = Image.new("RGB", (poses * size[1] * _FINER, size[0] * _FINER), PAPER)
    draw = ImageDraw.Draw(image)
    shade, body, head = (camera.project(points) for points in (_dropped(posed), posed, _heads(posed)))
    for place, time in enumerate(chosen.tolist()):
        across = body.new_tensor([place * size[1] * _FINER, 0, 0])
        _draw_shadow(draw, shade[place] + across, skeleton)
        _draw_body(draw, body[place] + across, head[place] + across, skeleton)
        middle = (place + 0.5) * size[1] * _FINER, (size[0] - _CAPTION / 2 - 2) * _FINER
        draw.text(
            middle, f"{time / fps:.{1 if len(whole) > fps else 2}f} s", FADED, load_font(11 * _FINER), anchor="mm"
        )
    return image.reduce(_FINER)


def _dropped(points: Tensor) -> Tensor:
    """Straight down to the floor."""
    return points * points.new_tensor([1, 0, 1])


def _heads(joints: Tensor) -> Tensor:
    """(T, 2, 3): the middle of the head and its crown."""
    skeleton = skeleton_of(joints.shape[1])
    neck, head = skeleton.chains[2][-2:]
    up = torch.nn.functional.normalize(joints[:, head] - joints[:, neck], dim=-1)
    return torch.stack([joints[:, head] + 0.07 * up, joints[:, head] + (0.07 + _HEAD) * up], 1)


def _floor(camera: Camera) -> tuple[Tensor, Tensor]:
    """Pieces of its lines about each frame's target, (T, N, 2, 3) projected, and how far each has faded, (T, N)."""
    steps = round(_FAR / _GRID)
    places = torch.arange(-steps, steps + 1, dtype=torch.float64) * _GRID
    across, along = torch.meshgrid(places, places, indexing="ij")
    start = torch.stack([across, torch.zeros_like(across), along], -1).flatten(0, 1)
    ahead = start.new_tensor([[_GRID, 0, 0], [0, 0, _GRID]])
    pieces = torch.stack([start.repeat(2, 1), start.repeat(2, 1) + ahead.repeat_interleave(len(start), 0)], 1)
    centre = _dropped((camera.target / _GRID).round() * _GRID)
    pieces = pieces + centre[:, None, None]
    away = (pieces.mean(2) - camera.target[:, None])[..., [0, 2]].norm(dim=-1) / _FAR
    return camera.project(pieces), away.clamp(max=1)


def _draw_floor(draw: ImageDraw.ImageDraw, pieces: Tensor, fade: Tensor) -> None:
    for (start, end), faded in zip(pieces.tolist(), fade.tolist()):
        if faded < 1 and start[2] and end[2]:
            draw.line([*start[:2], *end[:2]], _mixed(LINE, PAPER, faded), _FINER)


def _draw_shadow(draw: ImageDraw.ImageDraw, points: Tensor, skeleton: Skeleton) -> None:
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        _draw_line(draw, points[[parent, joint]], _LIMB, SHADOW)


def _draw_body(draw: ImageDraw.ImageDraw, points: Tensor, heads: Tensor, skeleton: Skeleton) -> None:
    """Trunk and limbs from far to near, each with a rim of paper that sets it apart, the far ones paler."""
    sides = {joint: LEFT for joint, _ in skeleton.pairs} | {joint: RIGHT for _, joint in skeleton.pairs}
    nearness = points[:, 2] / points[:, 2].mean() - 1
    trunk = max(skeleton.chains, key=lambda chain: sum(joint not in sides for joint in chain))
    right_hip, left_hip, right_shoulder, left_shoulder = (points[joint] for joint in skeleton.across)
    outline = torch.stack([right_hip, left_hip, left_shoulder, right_shoulder])
    for chain in sorted(skeleton.chains, key=lambda chain: float(nearness[list(chain[1:])].mean())):
        if chain is trunk:
            _draw_line(draw, outline[[0, 1, 2, 3, 0]], _LIMB + 2 * _HALO, PAPER)
            _draw_line(draw, outline[[0, 1, 2, 3, 0]], _LIMB, TRUNK)
            draw.polygon([(x, y) for x, y, _ in outline.tolist()], TRUNK)
            _draw_line(draw, points[list(chain)], _LIMB, MIDDLE)
            x, y, scale = heads[0].tolist()
            draw.circle((x, y), (_HEAD + _HALO) * scale, PAPER)
            draw.circle((x, y), _HEAD * scale, MIDDLE)
            continue
        limb = chain[next(place for place, joint in enumerate(chain) if joint in skeleton.across) :]
        _draw_line(draw, points[list(limb)], _LIMB + 2 * _HALO, PAPER)
        for parent, joint in zip(limb, limb[1:]):
            pale = min(max(-6 * float(nearness[[parent, joint]].mean()), 0.0), 0.5)
            _draw_line(draw, points[[parent, joint]], _LIMB, _mixed(sides[joint], PAPER, pale))


def _draw_line(draw: ImageDraw.ImageDraw, points: Tensor, metres: float, colour: Colour) -> None:
    """A line of round ends and corners through projected points (N, 3)."""
    for (x, y, scale), (u, v, _) in zip(points.tolist(), points[1:].tolist()):
        draw.line([x, y, u, v], colour, max(1, round(metres * scale)))
    for x, y, scale in points.tolist():
        draw.circle((x, y), metres * scale / 2, colour)


def _mixed(first: Colour, second: Colour, part: float) -> Colour:
    """`part` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second))
    return red, green, blue

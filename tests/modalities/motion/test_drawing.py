"""Drawings: everybody is in the picture, left is blue, the camera follows, and a sheet has a row for each motion."""

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.drawing import LEFT, PAPER, RIGHT, Camera, draw_motion, motion_sheet, motion_strip
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT
from tests.modalities.motion.gait import walk


def pixels(picture: Tensor) -> Tensor:
    """(3, ...) in [-1, 1] as bytes."""
    return ((picture + 1) * 127.5).round().long()


def near(picture: Tensor, colour: tuple[int, int, int], within: int = 12) -> Tensor:
    return (pixels(picture) - torch.tensor(colour).view(3, *[1] * (picture.ndim - 1))).abs().amax(0) <= within


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
def test_a_clip_shows_the_whole_person_in_every_frame(skeleton) -> None:
    clip = draw_motion(walk(skeleton, 30, turn=0.5), size=(96, 80))
    assert clip.shape == (3, 30, 96, 80) and clip.dtype == torch.float32 and clip.abs().max() <= 1
    for colour in (LEFT, RIGHT):
        shown = near(clip, colour, 40)
        assert shown.flatten(1).any(1).all()
    strong = (pixels(clip).amax(0) - pixels(clip).amin(0)) > 60  # limbs; the rest is grey
    assert not strong[:, [0, 1, -1, -2]].any() and not strong[:, :, [0, 1, -1, -2]].any()


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
def test_the_left_is_blue_and_on_the_right_of_who_looks_at_them(skeleton) -> None:
    still = torch.tensor([1.0, 0, 0, 0]).expand(1, len(skeleton), 4)
    picture = draw_motion(skeleton.forward(torch.zeros(1, 3), still), size=(128, 128))[:, 0]
    left, right = (near(picture, colour, 40).nonzero()[:, 1].float() for colour in (LEFT, RIGHT))
    assert left.mean() > 64 + 5 > 64 - 5 > right.mean()


def test_the_camera_follows_and_where_the_clip_was_recorded_does_not_matter() -> None:
    x = walk(frames=40, speed=1.2)
    clip = draw_motion(x, size=(64, 64))
    elsewhere = draw_motion(x @ torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]).double() + 5, size=(64, 64))
    assert (clip - elsewhere).abs().mean() < 0.01
    shown = near(clip, PAPER, 60).logical_not().float()
    columns = (shown.sum(1) * torch.arange(64)).sum(1) / shown.sum((1, 2))
    assert columns.std() < 4  # although the walk is longer than the picture is wide
    assert (clip[:, 10] - clip[:, 32]).abs().amax() > 0.5  # a cycle later, the pose is the same and the floor is not


def test_people_stand_side_by_side() -> None:
    pair = torch.stack([walk(frames=5), walk(frames=5, turn=1.0)])
    both = draw_motion(pair, size=(64, 48))
    assert both.shape == (3, 5, 64, 96)
    assert (both[..., :48] - draw_motion(pair[0], size=(64, 48))).abs().mean() < 0.1


def test_all_points_lie_in_the_part_that_is_to_be_filled() -> None:
    points = torch.randn(7, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    camera = Camera(torch.zeros(7, 3, dtype=torch.float64), (100, 60)).fitted(points, 0.8)
    x, y, scale = camera.project(points).unbind(-1)
    across, down = (x - 30).abs().max() / 30, (y - 50).abs().max() / 50
    assert max(across, down) == pytest.approx(0.8)
    assert (scale > 0).all()
    assert camera.project(points + torch.tensor([0.0, 0, 1000]))[..., 2].eq(0).all()  # behind the lens


def test_strips_and_sheets_have_a_place_for_each_pose() -> None:
    strip = motion_strip(walk(frames=50), poses=5, size=(90, 60))
    assert strip.shape == (3, 90, 300)
    for place in range(5):
        assert near(strip[:, :, 60 * place : 60 * (place + 1)], LEFT, 40).any()
    short = motion_strip(walk(frames=2), poses=5, size=(90, 60))
    assert short.shape == strip.shape and not near(short[:, :, 120:], LEFT, 40).any()
    titles = ["one", "a title so long that it has to be broken into two lines at least to fit above its strip of poses"]
    sheet = motion_sheet([walk(frames=50), walk(KIT, 30)], titles, poses=5, size=(90, 60))
    assert sheet.shape[2] == 300 and sheet.shape[1] > 2 * 90 + 3 * 15
    assert torch.allclose(sheet[:, 32 : 32 + 90], strip)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="not numbers"):
        draw_motion(torch.full((4, 22, 3), float("nan")))
    with pytest.raises(ValueError, match="a title for each motion"):
        motion_sheet([walk(frames=4)], [])

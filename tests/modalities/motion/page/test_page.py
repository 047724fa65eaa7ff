import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgen.modalities.motion.features import canonical
from mmgen.modalities.motion.page import motion_page
from mmgen.modalities.motion.page.people import bones, person
from mmgen.modalities.motion.page.story import MotionStory
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from mmgen.page import render
from mmgen.page.page import figure
from tests.modalities.motion.gait import walk
from tests.modalities.motion.page.fake import FPS, FRAMES, story
from tests.page.elements import LAWS, Elements, text


@pytest.fixture(scope="module")
def made() -> MotionStory:
    return story()


@pytest.fixture(scope="module")
def page(made: MotionStory) -> str:
    return render(motion_page(made))


def moved(canvas: dict[str, Any]) -> Tensor:
    """(T, J, 3) in metres, what the script draws; what it looks at comes last and is left out."""
    content = np.frombuffer(base64.b64decode(canvas["data-places"]), dtype="<i2")
    return torch.from_numpy(content.astype(np.float64)).view(-1, int(canvas["data-points"]), 3)[:, :-1] / 1000


@pytest.mark.parametrize("law", LAWS)
def test_it_is_a_whole_page(law: Callable[[str], None], page: str) -> None:
    law(page)


def test_every_result_stands_on_it(page: str, made: MotionStory) -> None:
    told = text(page)
    assert [each["id"] for each in Elements(page).named("section")] == [
        "actions", "tokenizers", "between", "metrics", "training", "masks",
    ]  # fmt: skip
    for mode in made.modes:
        assert all(line in told for line in (*mode.commands, mode.measure_command))
        for name, value in mode.measured.items():
            assert name in told and figure(value, name) in told
    for coder in made.coders:
        assert coder.command in told and coder.tokens in told
        assert all(figure(value, name) in told for name, value in coder.measured.items())
    assert all(figure(value, name) in told for name, value in made.real.items())
    assert "95.0 % of motions show" in told or "95.0 %" in told
    assert "joints are 76 mm off over 30 motions" in told and "joints are 29 mm off" in told
    assert "gaps of 0.2 s on average" in told
    assert "Within the gaps of 12 motions, joints are off by 53 mm (masked), and by 30 mm on straight lines" in told
    assert "getup facedown" in told
    assert "8 min 31 s" in told and "2 cores of <a machine> & more" in told


def test_every_motion_is_on_it_as_it_is(page: str, made: MotionStory) -> None:
    wanted = []
    for place in range(len(made.labels)):
        wanted += [made.recorded[place], *(mode.motions[place] for mode in made.modes)]
    wanted += [made.held_out[0], *(coder.motions[0] for coder in made.coders)]
    gap = made.betweens[0]
    wanted += [gap.real[0], gap.filled["masked"][0], gap.straight[0]]
    canvases = Elements(page).named("canvas")
    assert len(canvases) == len(wanted)
    for canvas, joints in zip(canvases, wanted):
        torch.testing.assert_close(moved(canvas), canonical(joints.double()), atol=6e-4, rtol=0)
    ranges = [json.loads(canvas["data-made"]) for canvas in canvases]
    assert ranges[-3:] == [[4, 8]] * 3
    assert ranges[:-3] == [[0, len(joints)] for joints in wanted[:-3]]


def test_without_a_script_there_is_a_picture_of_each(page: str) -> None:
    elements = Elements(page)
    stills = [each["alt"] for each in elements.named("img") if each["alt"].endswith(" s.")]
    assert len(stills) == len(elements.named("canvas"))
    assert stills[:2] == ["Recorded: walk, 0.6 s.", "Autoregressive: walk, 0.5 s."]


def test_rows_go_as_long_as_their_longest_motion_and_short_ones_more_slowly(page: str) -> None:
    rows = [each for each in Elements(page).named("div") if "data-bones" in each]
    assert [(row["data-last"], row["data-tick"]) for row in rows] == [
        ("18", "0.05"),
        ("8", "0.1"),
        (str(FRAMES), "0.1"),
    ]


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT])
def test_each_bone_is_drawn_once_and_limbs_have_sides(skeleton: Skeleton) -> None:
    *found, head = json.loads(bones(len(skeleton)))
    assert sorted((child, parent) for parent, child, _ in found) == sorted(
        (child, parent) for child, parent in enumerate(skeleton.parents) if parent >= 0
    )
    names = skeleton.joints
    for parent, child, side in found:
        if side != "middle":
            assert names[child].startswith(side) and names[parent].startswith(side)
    assert {side for *_, side in found} == {"left", "right", "middle"}
    limbs = [(child, side) for _, child, side in found if any(part in names[child] for part in ("elbow", "knee"))]
    assert len(limbs) == 4 and all(names[child].startswith(side) for child, side in limbs)
    assert [names[joint] for joint in head] == ["neck", "head"]


def test_a_motion_of_one_frame_and_a_far_one_are_held() -> None:
    assert person(walk(HUMANML3D, 1, FPS, 1.0, 0.0), FPS, "one").frames == 1
    far = walk(HUMANML3D, 4, FPS, 1.0, 0.0) + 30 * torch.arange(4)[:, None, None]
    held = moved({"data-places": person(far, FPS, "far").places, "data-points": "23"})
    assert held.abs().max() == 32.767  # what two bytes hold, and no other sign


def test_what_was_not_measured_is_not_told(made: MotionStory) -> None:
    modes = [dataclasses.replace(mode, measured={"forward_passes": 3.0}) for mode in made.modes]
    bare = dataclasses.replace(made, modes=modes, real={}, betweens=[], masks=[], curves=[])
    page = render(motion_page(bare))
    told = text(page)
    assert [each["id"] for each in Elements(page).named("section")] == ["actions", "tokenizers", "metrics"]
    assert "show the action" not in told and "straight line" not in told

"""BVH: what is written is read again, other programs' files mean what they say, damaged ones are refused by line."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mmgen.modalities.motion.bvh
from mmgen.core.errors import UserError
from mmgen.modalities.motion.bvh import Bvh, bvh_text, read_bvh
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from tests.modalities.motion.gait import walk

ARM = """HIERARCHY
ROOT hips
{
    OFFSET 1 2 3
    CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
    JOINT upper arm {
        OFFSET 0 10 0
        CHANNELS 2 Xrotation Zrotation
        JOINT hand
        {
            OFFSET 0 5 0
            CHANNELS 1 Yposition
            End Site
            {
                OFFSET 0 1 0
            }
        }
    }
}
MOTION
Frames: 3
Frame Time: 0.05

0 0 0 0 0 0 0 0 5
1 2 3 90 0 0 0 0 7
0 0 0 0 0 0 90 90 5
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.bvh"


def read(path: Path, text: str) -> Bvh:
    path.write_text(text)
    return read_bvh(path)


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_what_is_written_is_read_again(path: Path, skeleton: Skeleton, scale: float) -> None:
    x = walk(skeleton, frames=60, turn=2.0, speed=0.5)
    file = read(path, bvh_text(x.float(), fps=30, scale=scale))
    assert sorted(file.names) == sorted(skeleton.joints)
    order = [file.names.index(name) for name in skeleton.joints]
    back = file.joints(scale)[:, order]
    assert (back - x).abs().max() < 1e-5
    assert file.fps == pytest.approx(30)


def test_angles_do_not_jump_between_frames(path: Path) -> None:
    text = bvh_text(walk(frames=100, turn=2.0, speed=0.5), fps=20)
    rows = torch.tensor([[float(word) for word in line.split()] for line in text.splitlines()[-100:]])
    assert rows[:, 3:].diff(dim=0).abs().max() < 90


def test_offsets_channels_and_their_order_mean_what_they_say(path: Path) -> None:
    file = read(path, ARM)
    assert file.names == ("hips", "upper arm", "hand")
    assert file.parents == (-1, 0, 1)
    assert file.fps == 20
    x = file.joints(scale=1.0)
    expected = [
        [[0, 0, 0], [0, 10, 0], [0, 15, 0]],
        [[1, 2, 3], [-9, 2, 3], [-16, 2, 3]],  # turned about z; the hand says where it is
        [[0, 0, 0], [0, 10, 0], [-5, 10, 0]],  # z, named last, turns first: y goes to -x, which x leaves alone
    ]
    assert torch.allclose(x, torch.tensor(expected, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(file.joints(), x / 100)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("HIERARCHY", "PK", "not a BVH file"),
        ("OFFSET 0 10 0", "OFFSET 0 10", "line 7: 3 numbers belong here, not 2"),
        ("OFFSET 0 10 0", "OFFSET 0 ten 0", "line 7: something here is not a number"),
        ("OFFSET 0 10 0", "OFFSET 0 nan 0", "line 7: a number here is not finite"),
        ("2 Xrotation Zrotation", "3 Xrotation Zrotation", "line 8: CHANNELS wants their number"),
        ("2 Xrotation Zrotation", "2 Xrotation Xrotation", "line 8: CHANNELS wants their number"),
        ("2 Xrotation Zrotation", "2 Xrotation Wrotation", "line 8: no channel is called 'Wrotation'"),
        ("JOINT hand\n        {", "JOINT hand\n", "line 11: a { is missing"),
        ("JOINT hand", "BONE hand", "line 9: 'BONE hand' has no place here"),
        ("MOTION", "}", "line 20: MOTION is missing"),
        ("Frames: 3", "Frames: 0", "line 21: 'Frames: N' is missing"),
        ("Frames: 3", "Frames: -1", "line 21: 'Frames: N' is missing"),
        ("Frames: 3", "Frames: 4", "line 26: the file ends here, but 3 of 4 frames are there"),
        ("Frames: 3", f"Frames: {10**12}", "3 of 1000000000000 frames"),
        ("Frame Time: 0.05", "Frame Time: 0", "line 22: a frame cannot last 0 s"),
        ("Frame Time: 0.05", "", "line 24: 'Frame Time: SECONDS' is missing"),
        ("1 2 3 90", "1 2 3", "line 25: 9 numbers belong here, not 8"),
        ("End Site\n            {", "End Site\n { JOINT more {", "an end site holds no joints"),
    ],
)
def test_damaged_files_are_refused_by_line(path: Path, before: str, after: str, message: str) -> None:
    assert before in ARM
    with pytest.raises(UserError) as caught:
        read(path, ARM.replace(before, after, 1))
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(ARM)), st.integers(0, 40), st.text(max_size=8))
def test_no_damage_ends_in_anything_but_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, put: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.bvh"
    path.write_text(ARM[:start] + put + ARM[start + length :], encoding="utf-8", errors="replace")
    message = ""
    try:
        assert read_bvh(path).joints().isfinite().all()
    except UserError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("claimed", [1, 2])
def test_more_frames_than_the_file_says_are_all_read(path: Path, claimed: int) -> None:
    file = read(path, ARM.replace("Frames: 3", f"Frames: {claimed}"))
    assert (len(file.table), file.claimed) == (3, claimed)
    assert file.joints(1.0).equal(read(path, ARM).joints(1.0))
    with pytest.raises(UserError, match="line 27: 9 numbers belong here"):
        read(path, ARM.replace("Frames: 3", f"Frames: {claimed}") + "the end\n")


def test_few_numbers_for_many_joints_take_little_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes of a frame would be thousands if all frames were placed at once."""
    joints = "\n".join(f"JOINT j{number}\n{{\nOFFSET 0 1 0" for number in range(90)) + "}\n" * 90
    text = f"HIERARCHY\nROOT r\n{{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n{joints}}}\nMOTION\nFrames: 9\nFrame Time: 1\n"
    file = read(path, text + "0\n" * 2000)
    at_once = []
    monkeypatch.setattr(mmgen.modalities.motion.bvh, "_AT_ONCE", 2**12)
    forward = mmgen.modalities.motion.bvh.forward

    def measured(parents: object, places: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        at_once.append(places.numel())
        return forward(parents, places, *rest)

    monkeypatch.setattr(mmgen.modalities.motion.bvh, "forward", measured)
    assert file.joints(1.0, [90, 0])[:, 0, 1].eq(90).all()
    assert max(at_once) <= 3 * 2**12
    assert len(at_once) > 30


@pytest.mark.parametrize("name", ["_MOST_FRAMES", "_MOST_NUMBERS"])
def test_more_frames_than_fit_into_memory_are_refused(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmgen.modalities.motion.bvh, name, 2)
    with pytest.raises(UserError, match=r"line 2[56]: more than .* cut the motion in pieces"):
        read(path, ARM)


def test_a_line_without_an_end_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="line 1: more than 1,048,576 characters"):
        read(path, "HIERARCHY" + "9" * 2**20)


def test_hostile_files_are_refused(path: Path) -> None:
    nested = "\n".join(f"JOINT j{number}\n{{" for number in range(2000))
    with pytest.raises(UserError, match="more than 1000 joints"):
        read(path, f"HIERARCHY\nROOT r\n{{\n{nested}")
    with pytest.raises(UserError, match="no joint has channels"):
        read(path, "HIERARCHY\nROOT r\n{\n}\nMOTION\nFrames: 1000000000\nFrame Time: 1\n")
    path.write_bytes(b"HIERARCHY\n\xff\xfe\x00")
    with pytest.raises(UserError, match="line 2: this is not UTF-8"):
        read_bvh(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_bvh(path.parent)
    with pytest.raises(UserError, match="line 0: the file ends here"):
        read(path, "")

"""Changed and made-up motions in BVH: joints of the right shape, or a line; whatever they claim, in little time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgen.core.errors import UserError
from mmgen.modalities.motion.bvh import bvh_text, read_bvh
from mmgen.modalities.motion.files import read_motion
from mmgen.modalities.motion.skeleton import HUMANML3D
from tests.fuzz.mutation import fuzz, mutated, refused

JOINTS = HUMANML3D.offsets.cumsum(0).expand(6, -1, -1).contiguous()
WHOLE = bvh_text(JOINTS, 20.0)
WORDS = [
    "HIERARCHY", "ROOT a", "JOINT b", "JOINT hips:left_knee", "End Site", "{", "}", "{ }", "OFFSET 0 1 0",
    "OFFSET 1e308 0 0", "OFFSET 1 nan 2", "CHANNELS 1 Zrotation",
    "CHANNELS 3 Xrotation Yrotation Zrotation", "CHANNELS 0", "CHANNELS -1 x",
    "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation", "MOTION", "Frames: 1", "Frames: 1e12",
    "Frames: 2.5", "Frames: -3", "Frames:", "Frame Time: 0.05", "Frame Time: 1e-30", "Frame Time: nan", "0", "1 2 3",
    "0 0 0 0 0 0", "9" * 400, "1e999", "", "\f", "\x85", "é",
]  # fmt: skip
EDIT = st.tuples(st.integers(0, len(WHOLE.split("\n"))), st.sampled_from(WORDS), st.booleans())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bvh") / "a.bvh"


def check(path: Path) -> None:
    def read() -> None:
        joints = read_motion(path, 20.0, lambda line: None)
        assert joints.shape[1:] == (22, 3)
        assert joints.isfinite().all()

    refused(read, UserError)


@fuzz(120)
@given(data=mutated(WHOLE.encode(), 4000))
def test_changed_bytes(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    check(path)


@fuzz(120)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(WHOLE.split("\n"))), st.sampled_from(WORDS), st.booleans()), min_size=1, max_size=5
    )
)
def test_changed_lines(edits: list[tuple[int, str, bool]], path: Path) -> None:
    """A line more, or another in the place of one."""
    lines = WHOLE.split("\n")
    for place, line, instead in edits:
        lines[place : place + instead] = [line]
    path.write_text("\n".join(lines))
    check(path)


@fuzz(120)
@given(lines=st.lists(st.sampled_from(WORDS), max_size=30))
def test_made_up_trees(lines: list[str], path: Path) -> None:
    path.write_text("\n".join(["HIERARCHY", "ROOT a", "{", *lines]))
    refused(lambda: read_bvh(path).joints(), UserError)

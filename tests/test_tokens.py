"""TokenSpec's clock of a video: how frames group into latents, against groups counted by hand."""

from itertools import accumulate
from typing import Any

import pytest

from mmgen.errors import UserError
from mmgen.tokens import TokenSpec

LENGTHS = range(1, 34)
STRIDES = pytest.mark.parametrize("stride", [1, 2, 3, 4])


def video(stride: int = 1, frames: int = 1, **changes: Any) -> TokenSpec:
    spec = TokenSpec("bits", 6, (1, 2, 3), modality="video", stride=stride, **changes)
    return spec.with_frames(frames)


def groups(frames: int, stride: int) -> list[int]:
    """Frames of each latent: whole groups are taken from the end until what is left comes first."""
    sizes: list[int] = []
    while frames > 0:
        sizes.insert(0, min(stride, frames))
        frames -= stride
    return sizes


@STRIDES
@pytest.mark.parametrize("frames", LENGTHS)
def test_frames_group_with_the_remainder_first(frames: int, stride: int) -> None:
    spec, expected = video(stride, frames), groups(frames, stride)
    assert spec.latents(frames) == len(expected) == spec.grid[0]
    assert spec.first == expected[0]
    assert [spec.frames(n + 1) for n in range(spec.grid[0])] == list(accumulate(expected))
    assert spec.frames(spec.grid[0]) == frames


@STRIDES
@pytest.mark.parametrize("frames", [1, 2, 7, 12])
def test_latents_of_the_frames_of_some_latents_are_as_many(frames: int, stride: int) -> None:
    spec = video(stride, frames)
    assert all(spec.latents(spec.frames(latents)) == latents for latents in LENGTHS)


@STRIDES
def test_a_spec_of_another_length_differs_in_length_alone(stride: int) -> None:
    spec = video(stride, 5, rate=25.0)
    other = spec.with_frames(9)
    assert other.grid[1:] == spec.grid[1:] and other.rate == 25.0 and other.stride == stride
    assert other.with_frames(5) == spec


def test_plain_types_and_back_and_a_dict_from_before_videos() -> None:
    spec = video(4, 6)
    assert TokenSpec.from_dict(spec.to_dict()) == spec
    old = {"kind": "bits", "size": 6, "grid": [5, 2, 3], "levels": 1, "modality": "video", "rate": None}
    assert TokenSpec.from_dict(old) == TokenSpec("bits", 6, (5, 2, 3), modality="video", stride=1, first=1)


@pytest.mark.parametrize(("stride", "first"), [(1, 2), (4, 5), (4, 0), (0, 0), (0, 1), (-2, 1)])
def test_groups_that_cannot_be_are_named(stride: int, first: int) -> None:
    with pytest.raises(UserError, match=f"first latent of {first} frames: .* the stride of {stride}"):
        TokenSpec("bits", 6, (1, 2, 2), modality="video", stride=stride, first=first)


@pytest.mark.parametrize("count", [0, -3])
def test_no_frames_and_no_latents_are_named(count: int) -> None:
    for use in (video().latents, video().with_frames):
        with pytest.raises(UserError, match=f"at least 1 frame, got {count}"):
            use(count)
    with pytest.raises(UserError, match=f"at least 1 latent along time, got {count}"):
        video().frames(count)


def test_only_a_video_changes_its_length() -> None:
    with pytest.raises(UserError, match="modality 'image' have no frames"):
        TokenSpec("bits", 6, (1, 2, 2)).with_frames(3)

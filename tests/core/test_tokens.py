"""TokenSpec's clock of a video or a sound: how frames group into latents, against groups counted by hand."""

import math
from itertools import accumulate
from typing import Any

import pytest

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec

LENGTHS = range(1, 34)
STRIDES = pytest.mark.parametrize("stride", [1, 2, 3, 4])


def video(stride: int = 1, frames: int = 1, **changes: Any) -> TokenSpec:
    spec = TokenSpec("bits", 6, (1, 2, 3), modality="video", stride=stride, **changes)
    return spec.with_frames(frames)


def sound(stride: int = 1, **changes: Any) -> TokenSpec:
    return TokenSpec("bits", 6, (1, 1, 1), modality="speech", stride=stride, first=stride, **changes)


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


@STRIDES
@pytest.mark.parametrize("samples", LENGTHS)
def test_samples_of_a_sound_group_with_the_remainder_last(samples: int, stride: int) -> None:
    spec = sound(stride).with_frames(samples)
    sizes = groups(samples, stride)[::-1]
    assert spec.grid == (len(sizes), 1, 1) and spec.latents(samples) == len(sizes)
    assert spec.first == stride
    assert [spec.frames(n + 1) for n in range(len(sizes))] == [stride * (n + 1) for n in range(len(sizes))]
    assert 0 <= spec.frames(len(sizes)) - samples < stride
    assert spec.with_frames(1) == sound(stride)
    assert TokenSpec.from_dict(spec.to_dict()) == spec


def test_rate_in_bits_and_what_time_is_counted_in() -> None:
    codec = TokenSpec("residual", 1024, (50, 1, 1), 6, "speech", rate=50.0, stride=320, first=320)
    assert codec.kbps == 3.0
    assert codec.bits_per_sample == 3000  # of one second
    assert sound(rate=75.0).kbps == 75 * 6 / 1000
    assert TokenSpec("continuous", 8, (50, 1, 1), modality="speech", rate=50.0).kbps == math.inf
    assert (codec.unit, video().unit, TokenSpec("bits", 6, (1, 2, 2)).unit) == ("samples", "frames", None)
    with pytest.raises(ValueError, match="without a rate"):
        _ = sound().kbps


@pytest.mark.parametrize(("stride", "first"), [(1, 2), (4, 5), (4, 0), (0, 0), (0, 1), (-2, 1)])
def test_groups_that_cannot_be_are_named(stride: int, first: int) -> None:
    with pytest.raises(UserError, match=f"first latent of {first} frames: .* the stride of {stride}"):
        TokenSpec("bits", 6, (1, 2, 2), modality="video", stride=stride, first=first)


@pytest.mark.parametrize("count", [0, -3])
def test_no_frames_and_no_latents_are_named(count: int) -> None:
    for use in (video().latents, video().with_frames):
        with pytest.raises(UserError, match=f"at least 1 frame, got {count}"):
            use(count)
    for use in (sound().latents, sound().with_frames):
        with pytest.raises(UserError, match=f"at least 1 sample, got {count}"):
            use(count)
    with pytest.raises(UserError, match=f"at least 1 latent along time, got {count}"):
        video().frames(count)


def test_a_sound_begins_with_a_whole_group() -> None:
    with pytest.raises(UserError, match=r"speech: first must equal stride \(4\), got 3"):
        TokenSpec("bits", 6, (1, 1, 1), modality="speech", stride=4, first=3)


def test_only_tokens_with_time_change_their_length() -> None:
    with pytest.raises(UserError, match="modality 'image' have no time"):
        TokenSpec("bits", 6, (1, 2, 2), modality="image").with_frames(3)

import pytest

from mmgen.apps.demo.video.findings import frames_shown
from mmgen.core.layout import Role
from mmgen.core.masks import block_window, get_mask


@pytest.mark.parametrize(("name", "streams"), [("skip_causal", 2), ("block_causal", 1), ("frame_wise", 1)])
def test_a_mask_is_drawn_over_whole_frames(name: str, streams: int) -> None:
    shown = frames_shown(get_mask(name) & block_window(3), frames=5, places=2)
    assert shown.length == 1 + streams * 5 * 2
    assert bool((shown.role == Role.NOISY).any()) == (streams == 2)
    of_frames = shown.block[shown.role != Role.PREFIX]
    assert of_frames.view(streams, 5, 2).tolist() == [[[frame, frame] for frame in range(5)]] * streams


def test_the_picture_tells_the_window() -> None:
    mask = get_mask("block_causal") & block_window(3)
    shown = frames_shown(mask, frames=5, places=2)
    seen = mask.dense(shown, shown)[0, 0, 1:, 1:].view(5, 2, 5, 2)[:, 0, :, 0]
    assert seen.sum(1).tolist() == [1, 2, 3, 3, 3]

from pathlib import Path

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.data.build import build_source
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import Batch, Samples
from mmgen.media.images import save_png, to_uint8
from mmgen.media.video import write_gif, write_mp4
from mmgen.modalities.video.context import file_context, held_out_context
from mmgen.store.store import Loaded, load_generator
from tests.data_modules import data_section
from tests.tiny_runs import generator_run, video_run, video_tokenizer_run


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(video_run(folder / "gen", video_tokenizer_run(folder / "tok")))


class Numbered(Samples):
    """Samples that are their own index."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def take(self, index: torch.Tensor) -> Batch:
        return {"sample": index}


@pytest.mark.parametrize("size", [1, 2, 4, 10, 97, 360])
def test_held_out_clips_come_from_all_over_and_do_not_depend_on_how_many(size: int) -> None:
    chosen = held_out_clips(Numbered(size), 2 * size)["sample"]
    assert sorted(chosen[:size].tolist()) == list(range(size))  # none twice before all have come
    assert torch.equal(chosen[size:], chosen[:size])
    for count in range(1, size + 1, 7):
        assert torch.equal(held_out_clips(Numbered(size), count)["sample"], chosen[:count])
    if size >= 97:  # eight of them leave no large part of the split out
        few = torch.cat([torch.tensor([0]), chosen[:8].sort().values, torch.tensor([size])])
        assert few.diff().max() <= size / 3


def test_a_held_out_context_is_the_beginning_of_clips_with_their_classes(loaded: Loaded) -> None:
    context = held_out_context(loaded, 3, 2)
    batch = held_out_clips(build_source(loaded.config).samples("val"), 3)
    assert torch.equal(context.frames, batch["x"][:, :, :2])
    assert context.labels is not None
    assert torch.equal(context.labels, batch["label"])
    assert context.actions is None  # digits do not act
    with pytest.raises(UserError, match="context_frames 5 is more than the 4 frames of the held-out clips"):
        held_out_context(loaded, 3, 5)


def test_data_of_images_do_not_begin_clips(tmp_path: Path) -> None:
    data = data_section("Digits")
    tokenizer = video_tokenizer_run(tmp_path / "tok")
    names = build_source({"data": data}).class_names
    run = generator_run(tmp_path / "gen", tokenizer, 10, positions="spatial", data=data, class_names=names)
    with pytest.raises(UserError, match="has samples of shape"):
        held_out_context(load_generator(run), 3, 1)


def test_a_video_gives_its_first_frames_to_every_clip(loaded: Loaded, tmp_path: Path) -> None:
    clip = (torch.arange(6).view(1, 6, 1, 1) / 3 - 1).expand(1, 6, 48, 40)  # one grey a frame, another size
    for name, write in (("a.gif", write_gif), ("a.mp4", write_mp4)):
        write(clip, tmp_path / name, 10)
        context = file_context(str(tmp_path / name), loaded, 2, 3, fps=5)
        assert context.frames.shape == (2, 1, 3, 32, 32)
        every_second = clip[:, ::2, :1, :1].expand(1, 3, 32, 32)
        torch.testing.assert_close(context.frames[1], every_second, atol=0.03, rtol=0)
        with pytest.raises(UserError, match=f"{name} ends after"):
            file_context(str(tmp_path / name), loaded, 2, 4, fps=5)


def test_an_image_is_one_frame(loaded: Loaded, tmp_path: Path) -> None:
    image = torch.linspace(-1, 1, 32 * 32).view(1, 32, 32)
    save_png(image, tmp_path / "a.png")
    context = file_context(str(tmp_path / "a.png"), loaded, 3, 1, fps=5)
    assert context.frames.shape == (3, 1, 1, 32, 32)
    assert torch.equal(to_uint8(context.frames[2, :, 0]), to_uint8(image))
    save_png(image[:, :20].repeat(3, 1, 1), tmp_path / "wide.png")  # colour, and of another shape
    assert file_context(str(tmp_path / "wide.png"), loaded, 1, 1, fps=5).frames.shape == (1, 1, 1, 32, 32)
    with pytest.raises(
        UserError, match=r"a\.png is an image, which is one frame: leave --context_frames out \(got 2\)"
    ):
        file_context(str(tmp_path / "a.png"), loaded, 3, 2, fps=5)

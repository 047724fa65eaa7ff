import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.media.images import to_uint8
from mmgen.modalities.image.evaluation import image_codecs as codecs
from mmgen.modalities.image.evaluation.image_codecs import code_at, codec_metrics


def pictures(count: int = 10, channels: int = 3, side: int = 24) -> Tensor:
    """Smooth shapes with some grain: neither flat nor noise."""
    coarse = Draws(0, torch.arange(count)).normal("coarse", channels, 6, 6)
    grain = Draws(0, torch.arange(count)).normal("grain", channels, side, side)
    return to_uint8((F.interpolate(coarse, size=side, mode="bicubic") + 0.05 * grain).tanh())


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_more_bits_keep_more_and_no_more_than_given_are_taken(codec: codecs.Codec) -> None:
    x = pictures()
    coded = [code_at(codec, x, bits) for bits in (1200, 2000, 3500, 6000)]
    for before, after in zip(coded, coded[1:]):
        assert before.psnr_db < after.psnr_db
        assert before.bits_per_image < after.bits_per_image
        assert before.quality < after.quality
    for each, bits in zip(coded, (1200, 2000, 3500, 6000)):
        assert 0.7 * bits < each.bits_per_image <= bits


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_where_the_lowest_quality_is_too_much_already_its_real_bits_are_told(codec: codecs.Codec) -> None:
    coded = code_at(codec, pictures(), 8)
    assert coded.bits_per_image > 8
    assert coded.quality == 0


def test_figures_are_those_of_the_files() -> None:
    """JPEG of one picture of whole blocks is what anybody's Pillow makes of it."""
    x = pictures(1, channels=1, side=32)
    coded = code_at("jpeg", x, 4000)
    file = io.BytesIO()
    Image.fromarray(x[0, 0].numpy()).save(file, "JPEG", quality=coded.quality, optimize=True, progressive=True)
    assert coded.bits_per_image == 8 * len(file.getvalue())
    error = np.square(np.asarray(Image.open(file), float) - x[0, 0].numpy()).mean()
    assert coded.psnr_db == pytest.approx(10 * math.log10(255**2 / error))


@pytest.mark.parametrize("count", [1, 7, 12])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 20, 24])
def test_a_mosaic_holds_every_image_and_is_cut_into_them_again(
    count: int, channels: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "SIDE", 96)  # three by three of 32: several mosaics
    x, parts = pictures(count, channels, side), []
    for tiles, mosaic in codecs._mosaics(x):
        assert max(mosaic.size) <= 96
        assert not any(length % codecs.BLOCK for length in mosaic.size)
        parts.append(codecs._cut(torch.from_numpy(np.array(mosaic)), tiles))
    assert torch.equal(torch.cat(parts), x)


def test_headers_are_shared_out() -> None:
    """Many images in one picture take less than each in its own."""
    x = pictures(16)
    separate = sum(code_at("jpeg", each[None], 1e9).bits_per_image for each in x) / 16
    assert code_at("jpeg", x, 1e9).bits_per_image < separate


def test_a_continuous_tokenizer_has_no_bits_to_compare_at() -> None:
    with pytest.raises(UserError, match="continuous"):
        codec_metrics(pictures(), math.inf)
    with pytest.raises(UserError, match="is for images"):
        codec_metrics(torch.zeros(2, 5, 4, 4, dtype=torch.uint8), 100)

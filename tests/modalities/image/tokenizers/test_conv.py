"""ConvImageTokenizer and KLImageTokenizer: shapes, raster order, mistakes; their contract is in test_laws.py."""

from typing import Any

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer, KLImageTokenizer
from mmgen.tokenizers.quantizers import BSQ, Gaussian

SHAPES = [  # image_size, channels, width, downsample, blocks, grid side
    (28, 1, 8, 4, 1, 7),
    (12, 3, 10, 2, 0, 6),
    (30, 1, 9, [3, 2], 2, 5),
    (16, 2, 8, 8, 1, 2),
    (7, 1, 4, [7], 1, 1),
    (5, 1, 4, [1], 1, 5),
]


@pytest.mark.parametrize(("size", "channels", "width", "downsample", "blocks", "side"), SHAPES)
def test_shapes(size: int, channels: int, width: int, downsample: int | list[int], blocks: int, side: int) -> None:
    tokenizer = ConvImageTokenizer(BSQ(5), size, channels, width, downsample, blocks)
    x = torch.rand(3, channels, size, size) * 2 - 1
    assert tokenizer.spec == TokenSpec("bits", 5, (1, side, side), modality="image")
    tokens = tokenizer.encode(x)
    assert tokens.values.shape == (3, side * side)
    assert tokenizer.decode(tokens).shape == tokenizer(x).x.shape == x.shape


def test_tokens_stay_where_the_image_changed() -> None:
    """Row-major order: a change in the lower right corner, far from the rest, moves late tokens only."""
    torch.manual_seed(0)
    tokenizer = ConvImageTokenizer(BSQ(16), image_size=64, width=8, downsample=4, blocks=0)
    x = torch.rand(1, 1, 64, 64) * 2 - 1
    changed = x.clone()
    changed[..., -8:, -8:] *= -1
    before_norm = tokenizer.encoder[:-3]  # which is global
    moved = (before_norm(x) - before_norm(changed)).abs().sum(1).flatten().view(16, 16).nonzero()
    assert len(moved)
    assert moved.min() >= 12


def test_the_kl_autoencoder_is_the_same_network_around_a_gaussian() -> None:
    torch.manual_seed(0)
    kl = KLImageTokenizer(16, width=8, latent_channels=3, kl_weight=0.25)
    other = ConvImageTokenizer(Gaussian(3, 0.25), 16, width=8)
    other.load_state_dict(kl.state_dict())
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    one, two = kl(x), other(x)
    assert one.x.equal(two.x) and one.losses["kl"].equal(two.losses["kl"])
    assert kl.spec == TokenSpec("continuous", 3, (1, 4, 4), modality="image")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30}, "image_size 30 is not divisible by the downsampling 4"),
        ({"downsample": 6}, "downsample 6 is not a power of two"),
        ({"downsample": []}, "downsample steps"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConvImageTokenizer(BSQ(6), **options)
    with pytest.raises(UserError, match=message):
        KLImageTokenizer(**options)

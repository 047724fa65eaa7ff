"""ConvImageTokenizer: shapes, ranges, determinism, mistakes, and that it learns."""

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.tokenizers.quantizers import BSQ, VQ, Quantizer
from mmgen.tokenizers.quantizers.base import Quantized, straight_through

SHAPES = [  # image_size, channels, width, downsample, blocks, grid side
    (28, 1, 8, 4, 1, 7),
    (12, 3, 10, 2, 0, 6),
    (30, 1, 9, [3, 2], 2, 5),
    (16, 2, 8, 8, 1, 2),
    (7, 1, 4, [7], 1, 1),
    (5, 1, 4, [1], 1, 5),
]
QUANTIZERS = pytest.mark.parametrize(
    "make", [lambda: BSQ(6), lambda: VQ(32, 4, decay=0.9), lambda: VQ(32, 4, cosine=True)], ids=["bsq", "vq", "cosine"]
)


class SignAndSize(Quantizer):
    """A residual quantizer of two levels with two codes each: the sign of a number, and whether it is beyond 1."""

    dim, kind, size, levels = 1, "residual", 2, 2

    def quantize(self, z: Tensor) -> Quantized:
        indices = self.encode(z)
        return Quantized(straight_through(z, self.lookup(indices)), indices, {})

    def encode(self, z: Tensor) -> Tensor:
        return torch.cat([z > 0, z.abs() > 1], dim=-1).long()

    def lookup(self, indices: Tensor) -> Tensor:
        self.check_indices(indices, 2)
        sign, far = indices.float().split(1, dim=-1)
        return (2 * sign - 1) * (0.5 + far)


def images(batch: int, size: int = 16, channels: int = 1, seed: int = 0) -> Tensor:
    """Smooth random images that fill [-1, 1]."""
    coarse = torch.rand(batch, channels, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def small(quantizer: Quantizer | None = None) -> ConvImageTokenizer:
    torch.manual_seed(0)
    tokenizer = ConvImageTokenizer(quantizer or BSQ(6), image_size=16, width=8, downsample=4)
    tokenizer.train()(images(8))  # fills a codebook
    return tokenizer.eval()


@pytest.mark.parametrize(("size", "channels", "width", "downsample", "blocks", "side"), SHAPES)
def test_shapes_and_ranges(
    size: int, channels: int, width: int, downsample: int | list[int], blocks: int, side: int
) -> None:
    tokenizer = ConvImageTokenizer(BSQ(5), size, channels, width, downsample, blocks)
    x = images(3, size, channels)
    assert tokenizer.spec == TokenSpec("bits", 5, (1, side, side), modality="image")
    assert tokenizer.sample_shape == (channels, size, size)
    tokens = tokenizer.encode(x)
    assert tokens.values.shape == (3, side * side)
    assert tokens.values.dtype == torch.int64
    assert tokens.grid == (1, side, side)
    assert tokens.values.min() >= 0
    assert tokens.values.max() < 2**5
    back = tokenizer.decode(tokens)
    assert back.shape == x.shape
    assert back.min() >= -1
    assert back.max() <= 1
    assert tokenizer(x).x.shape == x.shape


@QUANTIZERS
def test_forward_is_decode_of_encode_and_neither_has_side_effects(make) -> None:
    tokenizer, x = small(make()), images(5, seed=1)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    tokens, reconstruction = tokenizer.encode(x), tokenizer(x)
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    assert torch.equal(tokenizer.decode(tokens), reconstruction.x.clamp(-1, 1))
    assert torch.equal(tokenizer.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[name], value) for name, value in tokenizer.state_dict().items())
    assert not tokenizer.decode(tokens).requires_grad
    assert reconstruction.x.requires_grad


def test_residual_codes_are_kept_apart_by_level() -> None:
    tokenizer, x = small(SignAndSize()), images(3)
    with torch.no_grad():
        tokenizer.encoder[-1].weight.mul_(5)  # so that both levels are used
    tokens, reconstruction = tokenizer.encode(x), tokenizer(x)
    assert tokenizer.spec == TokenSpec("residual", 2, (1, 4, 4), levels=2, modality="image")
    assert tokens.values.shape == (3, 16, 2)
    latents = tokenizer.encoder(x)[:, 0].flatten(1)  # raster order
    assert torch.equal(tokens.values, torch.stack([latents > 0, latents.abs() > 1], dim=-1).long())
    assert tokens.values.float().mean((0, 1)).min() > 0
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    assert torch.equal(tokenizer.decode(tokens), reconstruction.x.clamp(-1, 1))
    with pytest.raises(UserError, match=r"tokens of shape \(batch, 16, 2\), got \(3, 16\)"):
        tokenizer.decode(Tokens(tokens.values[..., 0], tokens.grid))


@torch.no_grad()
def test_the_output_is_affine_in_the_last_layer() -> None:
    x, outputs = images(4), []
    for factor in (1, 3, 0):
        tokenizer = small()
        tokenizer.last_layer.mul_(factor)
        outputs.append(tokenizer(x).x)
    once, thrice, bias = outputs
    assert (once - bias).abs().max() > 0.1
    torch.testing.assert_close(thrice - bias, 3 * (once - bias))


@QUANTIZERS
def test_a_row_does_not_depend_on_its_batch(make) -> None:
    tokenizer, x = small(make()).double(), images(6, seed=2).double()
    whole = tokenizer.encode(x)
    for row in range(6):
        alone = tokenizer.encode(x[row : row + 1])
        assert torch.equal(alone.values[0], whole.values[row])
        torch.testing.assert_close(tokenizer.decode(alone)[0], tokenizer.decode(whole)[row])


def test_tokens_stay_where_the_image_changed() -> None:
    """Row-major order: a change in the lower right corner, far from the rest, moves late tokens only."""
    torch.manual_seed(0)
    tokenizer = ConvImageTokenizer(BSQ(16), image_size=64, width=8, downsample=4, blocks=0)
    x = images(1, 64)
    changed = x.clone()
    changed[..., -8:, -8:] *= -1
    latents = (
        (tokenizer.encoder[:-3](x) - tokenizer.encoder[:-3](changed)).abs().sum(1).flatten()
    )  # before the norm, which is global
    moved = latents.view(16, 16).nonzero()
    assert len(moved)
    assert moved.min() >= 12


@QUANTIZERS
def test_overfits_eight_images(make) -> None:
    tokenizer, x = small(make()).train(), images(8)
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=1e-2)
    psnr = []
    for _step in range(150):
        reconstruction = tokenizer(x)
        error = (reconstruction.x - x).square().mean()
        psnr.append(10 * torch.log10(4 / error).item())
        optimizer.zero_grad()
        (error + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    assert psnr[0] < 14
    assert psnr[-1] > 22
    held = tokenizer.eval().decode(tokenizer.encode(x))
    assert 10 * torch.log10(4 / (held - x).square().mean()) > 21


@QUANTIZERS
def test_state_comes_back(make) -> None:
    tokenizer, x = small(make()), images(4, seed=3)
    torch.manual_seed(5)
    other = ConvImageTokenizer(make(), image_size=16, width=8, downsample=4).eval()
    other.load_state_dict(tokenizer.state_dict())
    assert torch.equal(other.encode(x).values, tokenizer.encode(x).values)
    assert torch.equal(other.decode(other.encode(x)), tokenizer.decode(tokenizer.encode(x)))


def test_every_weight_is_trained() -> None:
    tokenizer = small()
    optimizer = torch.optim.SGD(tokenizer.parameters(), lr=0.1)
    for _ in range(2):  # the zero-initialised convolutions let gradients through from the second step on
        optimizer.zero_grad()
        reconstruction = tokenizer(images(4))
        (reconstruction.x.square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in tokenizer.parameters())


@QUANTIZERS
def test_bfloat16_autocast_and_weights(make) -> None:
    tokenizer, x = small(make()), images(4)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = tokenizer(x)
        reconstruction.x.float().square().mean().backward()
        assert tokenizer.decode(tokenizer.encode(x)).shape == x.shape
    assert all(loss.dtype == torch.float32 for loss in reconstruction.losses.values())
    assert all(weight.grad.isfinite().all() for weight in tokenizer.parameters())
    low = tokenizer.bfloat16()
    assert low.decode(low.encode(x.bfloat16())).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 1, 20, 20), r"\(batch, 1, 16, 16\) in \[-1, 1\], got shape \(2, 1, 20, 20\)"),
        (torch.zeros(2, 3, 16, 16), r"got shape \(2, 3, 16, 16\)"),
        (torch.zeros(1, 16, 16), r"got shape \(1, 16, 16\)"),
        (torch.zeros(2, 1, 16, 16, dtype=torch.uint8), "use x / 127.5 - 1"),
        (torch.full((2, 1, 16, 16), 255.0), "values from 255 to 255"),
        (torch.full((2, 1, 16, 16), float("nan")), "values from nan to nan"),
        (torch.zeros(0, 1, 16, 16), "empty batch"),
    ],
)
def test_wrong_images_are_named(x: Tensor, message: str) -> None:
    tokenizer = small()
    for use in (tokenizer, tokenizer.encode):
        with pytest.raises(UserError, match=message):
            use(x)


def test_wrong_tokens_and_options_are_named() -> None:
    tokenizer = small()
    with pytest.raises(UserError, match=r"grid of \(1, 4, 4\), got \(1, 2, 8\)"):
        tokenizer.decode(Tokens(torch.zeros(1, 16, dtype=torch.int64), (1, 2, 8)))
    with pytest.raises(UserError, match="codes 0 to 63, got 64 to 64"):
        tokenizer.decode(Tokens(torch.full((1, 16), 64), (1, 4, 4)))
    with pytest.raises(UserError, match="codebook is empty"):
        ConvImageTokenizer(VQ(8, 4), image_size=16, width=8).eval().encode(images(1))
    for options, message in [
        ({"image_size": 30}, "image_size 30 is not divisible by the downsampling 4"),
        ({"downsample": 6}, "downsample 6 is not a power of two"),
        ({"downsample": []}, "downsample steps"),
        ({"width": 0}, "width must be at least 1"),
    ]:
        with pytest.raises(UserError, match=message):
            ConvImageTokenizer(BSQ(6), **options)

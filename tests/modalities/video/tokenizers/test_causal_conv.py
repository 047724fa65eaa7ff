"""CausalConvTokenizer: its layers, images, patches and mistakes; its contract is in tests/tokenizers/test_laws.py."""

from typing import Any

import pytest
import torch
from einops import rearrange, repeat
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.modalities.video.tokenizers.causal_conv import CausalConvTokenizer, TimeConv
from mmgen.tokenizers.quantizers import BSQ, Gaussian, Quantizer

STRIDES = pytest.mark.parametrize("stride", [1, 2, 4])


def clips(batch: int, frames: int, size: int = 8, channels: int = 1, seed: int = 0) -> Tensor:
    """Smooth random clips that fill [-1, 1]."""
    coarse = torch.rand(batch, channels, frames, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(frames, size, size), mode="trilinear")


def small(quantizer: Quantizer | None = None, **changes: Any) -> CausalConvTokenizer:
    """Untrained, but with no weight at the zero that some begin with: at first, no frame would see another."""
    torch.manual_seed(0)
    sizes = {"frames": 7, "image_size": 8, "width": 4, "downsample": [2, 2], "time_stride": 2} | changes
    tokenizer = CausalConvTokenizer(quantizer or Gaussian(3), **sizes)
    with torch.no_grad():
        for layer in tokenizer.modules():
            if isinstance(layer, TimeConv):
                layer.conv.weight.normal_(std=0.3)
    frames, channels = tokenizer.sample_shape[1], tokenizer.sample_shape[0]
    tokenizer.train()(clips(4, frames, tokenizer.sample_shape[-1], channels))  # fills codebooks and moments
    return tokenizer.eval()


def latents(tokens: Tokens) -> Tensor:
    """(B, latents, h w, ...)."""
    return rearrange(tokens.values, "b (t n) ... -> b t n ...", t=tokens.grid[0])


@STRIDES
def test_a_first_frame_is_an_image_and_an_image_is_a_still_clip(stride: int) -> None:
    tokenizer, x = small(time_stride=stride), clips(2, 1 + 3 * stride)
    image, clip = tokenizer.encode(x[:, :, :1]), tokenizer.encode(x)
    assert image.grid == (1, 2, 2)
    torch.testing.assert_close(latents(clip)[:, :1], latents(image))
    still = tokenizer.encode(x[:, :, :1].expand(-1, -1, 9 * stride, -1, -1))
    torch.testing.assert_close(latents(still), latents(image).expand(-1, 9, -1, -1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokenizer.decode(image, 1), tokenizer.decode(clip, 1 + 3 * stride)[:, :, :1])


def test_time_convolution_is_a_causal_convolution_in_three_dimensions() -> None:
    torch.manual_seed(0)
    layer, x = TimeConv(5).double(), torch.randn(2, 6, 5, 3, 4, dtype=torch.float64)
    layer.conv.weight.data.normal_()
    kernel = rearrange(layer.conv.weight, "out (k c) h w -> out c k h w", k=3)
    padded = rearrange(torch.cat([x[:, :1], x[:, :1], x], 1), "b t c h w -> b c t h w")
    expected = torch.nn.functional.conv3d(padded, kernel, layer.conv.bias)
    torch.testing.assert_close(layer(x, {}), rearrange(expected, "b c t h w -> b t c h w"))


def test_a_refused_chunk_leaves_the_stream_as_it_was() -> None:
    tokenizer, x = small(), clips(1, 5)
    stream = tokenizer.streaming()
    parts = [stream.encode(x[:, :, :1])]
    with torch.no_grad():
        bias = tokenizer.encoder[-1].layers[-1].bias
        bias.copy_(torch.full_like(bias, float("nan")))
        with pytest.raises(UserError, match="NaN or infinity"):
            stream.encode(x[:, :, 1:3])
        bias.zero_()
    for wrong in (x[:, :, 1:2], x[:, :, 1:3].expand(2, -1, -1, -1, -1)):
        with pytest.raises(UserError, match=r"multiples of 2 frames, got 1|1 clips at once, got 2"):
            stream.encode(wrong)
    parts.append(stream.encode(x[:, :, 1:]))
    # The first part was made with another bias than the second.
    torch.testing.assert_close(latents(parts[1]), latents(tokenizer.encode(x))[:, 1:])


@torch.no_grad()
def test_a_patch_of_latents_is_one_token() -> None:
    """The same convolutions, whose latents stand together by squares, channel by channel."""
    torch.manual_seed(0)
    plain = CausalConvTokenizer(Gaussian(2), 7, 16, width=4, downsample=4)
    patched = CausalConvTokenizer(Gaussian(8), 7, 16, width=4, downsample=4, patch=2)
    for own, other in zip(patched.parameters(), plain.parameters(), strict=True):
        own.copy_(other)
    x = clips(2, 7, size=16)
    single, tokens = plain.encode(x), patched.encode(x)
    assert patched.spec.grid == tokens.grid == (4, 2, 2)
    squares = "b (t h p w q) c -> b (t h w) (c p q)"
    assert torch.equal(rearrange(single.values, squares, t=4, h=2, p=2, q=2), tokens.values)
    assert torch.equal(patched.decode(tokens), plain.decode(single))
    stream = patched.streaming()
    parts = [stream.encode(chunk).values for chunk in x.split([3, 4], dim=2)]
    torch.testing.assert_close(torch.cat(parts, 1), tokens.values, atol=1e-5, rtol=1e-5)


def test_with_one_frame_a_token_and_no_blocks_it_is_the_image_tokenizer() -> None:
    video = CausalConvTokenizer(BSQ(6), 5, 8, width=4, downsample=[2, 2], time_stride=1, blocks=0)
    image = ConvImageTokenizer(BSQ(6), image_size=8, width=4, downsample=[2, 2], blocks=0)
    with torch.no_grad():
        for own, other in zip(image.parameters(), video.parameters(), strict=True):
            own.copy_(other)
    x = clips(2, 5)
    frames = rearrange(x, "b c t h w -> (b t) c h w")
    assert torch.equal(image.encode(frames).values, latents(video.encode(x)).flatten(0, 1))
    assert torch.equal(image(frames).x, rearrange(video(x).x, "b c t h w -> (b t) c h w"))


def test_norms_do_not_mix_frames() -> None:
    """A frame of another brightness and contrast changes nothing before it, and a constant one is no division by 0."""
    tokenizer, x = small(time_stride=1), repeat(clips(1, 1), "b c 1 h w -> b c 6 h w").clone()
    x[:, :, 4:] = 1
    tokens = latents(tokenizer.encode(x))
    torch.testing.assert_close(tokens[:, :4], tokens[:, :1].expand(-1, 4, -1, -1), atol=1e-5, rtol=1e-5)
    assert tokens.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 9}, "image_size 9 is not divisible by the downsampling 4"),
        ({"downsample": 3}, "downsample 3 is not a power of two"),
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"width": 0}, "must be at least 1"),
        ({"patch": 3}, "patch 3 must divide the side of 2 latents, its square the 3 numbers a token"),
        ({"patch": 2}, "patch 2 must divide the side of 2 latents"),
        ({"time_stride": 3}, "time_stride 3 is not a power of two from 1 to 4; give the steps as a list"),
        ({"time_stride": 8}, "time_stride 8 is not a power of two from 1 to 4"),
        ({"time_stride": 0}, "time_stride 0 is not a power of two"),
        ({"time_stride": [2]}, "must give a whole number of at least 1 for each of 2 steps"),
        ({"time_stride": [0, 2]}, "must give a whole number of at least 1 for each of 2 steps"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)

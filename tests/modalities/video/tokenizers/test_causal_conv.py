"""CausalConvTokenizer: groups of frames with the remainder first, causality to the bit, streams, and mistakes."""

import copy
from typing import Any

import pytest
import torch
from einops import rearrange, repeat
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.modalities.video.tokenizers.causal import TimeConv
from mmgen.modalities.video.tokenizers.causal_conv import CausalConvTokenizer
from mmgen.tokenizers.quantizers import BSQ, FSQ, VQ, Gaussian, Quantizer, ResidualVQ

LENGTHS = range(1, 34)
STRIDES = pytest.mark.parametrize("stride", [1, 2, 4])
KINDS: dict[str, tuple[Any, str]] = {
    "bsq": (lambda: BSQ(6), "bits"),
    "fsq": (lambda: FSQ([4, 5, 3]), "categorical"),
    "vq": (lambda: VQ(32, 4), "categorical"),
    "residual": (lambda: ResidualVQ(16, 4, levels=2), "residual"),
    "gaussian": (lambda: Gaussian(3), "continuous"),
}


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
def test_every_length_has_its_latents_with_the_remainder_first(stride: int) -> None:
    tokenizer = small(time_stride=stride)
    for frames in LENGTHS:
        tokens = tokenizer.encode(clips(1, frames))
        groups = -(-frames // stride)
        assert tokens.grid == (groups, 2, 2)
        assert tokens.values.shape == (1, groups * 4, 3)
        assert tokenizer.decode(tokens, frames).shape == (1, 1, frames, 8, 8)
        own = tokenizer.spec.frames(groups)
        assert tokenizer.decode(tokens).shape[2] == own
        assert (own - tokenizer.sample_shape[1]) % stride == 0  # the first group is as long as in training
        assert tokenizer(clips(1, frames)).x.shape == (1, 1, frames, 8, 8)


@STRIDES
def test_later_groups_change_no_bit_and_get_no_gradient(stride: int) -> None:
    tokenizer = small(time_stride=stride)
    for frames in LENGTHS:
        x, first = clips(1, frames), (frames - 1) % stride + 1
        for group in {0, -(-frames // stride) // 2}:
            border = first + group * stride  # frames up to the end of this group
            changed = x.clone()
            changed[:, :, border:] = clips(1, frames, seed=1)[:, :, border:]
            tokens, other = tokenizer.encode(x), tokenizer.encode(changed)
            assert torch.equal(latents(tokens)[:, : group + 1], latents(other)[:, : group + 1])
            made, unlike = tokenizer.decode(tokens, frames), tokenizer.decode(other, frames)
            assert torch.equal(made[:, :, :border], unlike[:, :, :border])
            if border < frames:
                assert not torch.equal(latents(tokens)[:, group + 1 :], latents(other)[:, group + 1 :])
                assert not torch.equal(made[:, :, border:], unlike[:, :, border:])
                leaf = x.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(tokenizer(leaf).x[:, :, :border].sum(), leaf)
                assert not gradient[:, :, border:].any()
                assert (gradient[:, :, :border] != 0).any(dim=(0, 1, 3, 4)).all()  # while each earlier frame counts


@STRIDES
def test_the_beginning_of_a_clip_is_coded_as_if_it_were_all(stride: int) -> None:
    tokenizer = small(time_stride=stride).double()
    for frames in LENGTHS:
        x = clips(2, frames, seed=frames).double()
        border = (frames - 1) % stride + 1 + stride * (frames // stride // 2)
        whole, begun = tokenizer.encode(x), tokenizer.encode(x[:, :, :border])
        torch.testing.assert_close(latents(whole)[:, : begun.grid[0]], latents(begun), atol=1e-10, rtol=0)
        shown = tokenizer.decode(whole, frames)[:, :, :border]
        torch.testing.assert_close(tokenizer.decode(begun, border), shown, atol=1e-10, rtol=0)


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


# With weights this large float32 rounds by some 1e-5, differently on each kind of processor; float64 tells that nothing
# else differs.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-5), (torch.float64, 1e-10)], ids=["f32", "f64"])
@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    steps=st.sampled_from([[1, 1], [1, 2], [2, 1], [2, 2], [1, 3]]),
    first=st.integers(1, 6),
    groups=st.lists(st.integers(1, 3), max_size=5),
    pieces=st.lists(st.integers(1, 4), min_size=12, max_size=12),
)
def test_chunks_equal_the_whole(
    dtype: torch.dtype, tolerance: float, steps: list[int], first: int, groups: list[int], pieces: list[int]
) -> None:
    tokenizer = small(time_stride=steps).to(dtype)
    stride = tokenizer.spec.stride
    sizes = [first, *(stride * n for n in groups)]
    x = clips(2, sum(sizes)).to(dtype)
    whole = tokenizer.encode(x)
    made = tokenizer.decode(whole, x.shape[2])

    stream = tokenizer.streaming()
    parts = [stream.encode(chunk) for chunk in x.split(sizes, dim=2)]
    torch.testing.assert_close(torch.cat([part.values for part in parts], 1), whole.values, atol=tolerance, rtol=0)

    shown, at = [], 0
    for size in pieces:  # latents, not grouped as they were made
        values = latents(whole)[:, at : at + size]
        if values.shape[1]:
            chunk = Tokens(values.flatten(1, 2), (values.shape[1], *whole.grid[1:]))
            count = None if at else x.shape[2] - stride * (whole.grid[0] - values.shape[1])
            shown.append(stream.decode(chunk, count))
        at += size
    rest = latents(whole)[:, at:]
    if rest.shape[1]:
        shown.append(stream.decode(Tokens(rest.flatten(1, 2), (rest.shape[1], *whole.grid[1:]))))
    torch.testing.assert_close(torch.cat(shown, 2), made, atol=tolerance, rtol=0)


def test_streams_share_a_tokenizer_and_leave_it_as_it_was() -> None:
    tokenizer, x = small(), clips(2, 6)
    before = copy.deepcopy(tokenizer.state_dict())
    attributes = {name: set(vars(each)) for name, each in tokenizer.named_modules()}
    one, other = tokenizer.streaming(), tokenizer.streaming()
    expected = latents(tokenizer.encode(x))
    for stream in (one, other, one, other):
        start = 2 * stream.encoded
        got = stream.encode(x[:, :, start : start + 2])
        torch.testing.assert_close(latents(got)[:, 0], expected[:, start // 2])
    assert all(torch.equal(before[name], value) for name, value in tokenizer.state_dict().items())
    assert attributes == {name: set(vars(each)) for name, each in tokenizer.named_modules()}


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


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_any_quantizer_is_a_bottleneck(name: str) -> None:
    make, kind = KINDS[name]
    tokenizer, x = small(make(), channels=3, frames=5), clips(3, 5, channels=3)
    levels = 2 if kind == "residual" else 1
    spec = TokenSpec(tokenizer.quantizer.kind, tokenizer.quantizer.size, (3, 2, 2), levels, "video", stride=2, first=1)
    assert spec.kind == kind
    assert tokenizer.spec == spec
    assert tokenizer.sample_shape == (3, 5, 8, 8)
    tokens, before = tokenizer.encode(x), copy.deepcopy(tokenizer.state_dict())
    assert tokens.values.shape[:2] == (3, spec.length)
    assert tokens.values.dtype == (torch.float32 if kind == "continuous" else torch.int64)
    back, reconstruction = tokenizer.decode(tokens), tokenizer(x)
    assert back.shape == x.shape
    assert back.abs().max() <= 1
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    torch.testing.assert_close(back, reconstruction.x.clamp(-1, 1))
    assert torch.equal(tokenizer.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[key], value) for key, value in tokenizer.state_dict().items())


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


def test_training_resumes_bit_for_bit() -> None:
    tokenizer, x = small().train(), clips(3, 7)
    resumed = small(frames=3).train()  # no weight depends on the number of frames
    resumed.load_state_dict(tokenizer.state_dict())
    for _ in range(2):
        expected, got = tokenizer(x), resumed(x)
        assert torch.equal(got.x, expected.x)
        assert torch.equal(got.losses["kl"], expected.losses["kl"])
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in tokenizer.state_dict().items())
    assert tokenizer.quantizer.batches == 3


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


def test_overfits_four_clips() -> None:
    tokenizer, x = small(width=16).train(), clips(4, 7)
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=1e-2)
    for _ in range(120):
        reconstruction = tokenizer(x)
        optimizer.zero_grad()
        ((reconstruction.x - x).square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    held = tokenizer.eval().decode(tokenizer.encode(x))
    assert 10 * torch.log10(4 / (held - x).square().mean()) > 22


def test_every_weight_is_trained_and_the_last_layer_is_the_last() -> None:
    torch.manual_seed(0)
    tokenizer, x = CausalConvTokenizer(BSQ(6), 7, 8, width=4, downsample=4, time_stride=4), clips(4, 7)
    optimizer = torch.optim.SGD(tokenizer.parameters(), lr=0.1)
    for _ in range(2):  # the zero-initialised convolutions let gradients through from the second step on
        optimizer.zero_grad()
        reconstruction = tokenizer(x)
        (reconstruction.x.square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in tokenizer.parameters())
    outputs = []
    with torch.no_grad():
        for factor in (1, 3, 0):
            changed = copy.deepcopy(tokenizer).eval()
            changed.last_layer.mul_(factor)
            outputs.append(changed(x).x)
    once, thrice, bias = outputs
    assert (once - bias).abs().max() > 0.1
    torch.testing.assert_close(thrice - bias, 3 * (once - bias))


def test_norms_do_not_mix_frames() -> None:
    """A frame of another brightness and contrast changes nothing before it, and a constant one is no division by 0."""
    tokenizer, x = small(time_stride=1), repeat(clips(1, 1), "b c 1 h w -> b c 6 h w").clone()
    x[:, :, 4:] = 1
    tokens = latents(tokenizer.encode(x))
    torch.testing.assert_close(tokens[:, :4], tokens[:, :1].expand(-1, 4, -1, -1), atol=1e-5, rtol=1e-5)
    assert tokens.isfinite().all()


def test_bfloat16_autocast_and_weights() -> None:
    tokenizer, x = small().train(), clips(2, 7)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = tokenizer(x)
        reconstruction.x.float().square().mean().backward()
        assert tokenizer.encode(x).values.dtype == torch.float32
    assert reconstruction.losses["kl"].dtype == torch.float32
    low = tokenizer.bfloat16()
    assert low.decode(low.encode(x.bfloat16())).dtype == torch.bfloat16


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


def test_samples_and_tokens_that_do_not_fit_are_named() -> None:
    tokenizer = small()
    for x, message in [
        (clips(1, 5, size=9), r"expects float samples of shape \(batch, 1, frames, 8, 8\)"),
        (clips(1, 5, channels=3), r"expects float samples of shape \(batch, 1, frames, 8, 8\)"),
        (clips(1, 5)[:, :, 0], "got shape"),
        (clips(1, 5)[:, :, :0], "clips of no frames"),
        (clips(1, 5) * 9, "got values from"),
    ]:
        for use in (tokenizer, tokenizer.encode, tokenizer.streaming().encode):
            with pytest.raises(UserError, match=message):
                use(x)
    tokens = tokenizer.encode(clips(1, 5))
    for frames in (4, 7):
        with pytest.raises(UserError, match=f"3 latents are 5 to 6 frames to CausalConvTokenizer, not {frames}"):
            tokenizer.decode(tokens, frames)
    with pytest.raises(UserError, match=r"decodes a token grid of \(latents, 2, 2\)"):
        tokenizer.decode(Tokens(torch.zeros(1, 9, 3), (1, 3, 3)))

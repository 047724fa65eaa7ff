"""ViT: the contract, the laws of frames, and that every weight is of use."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

import mmgen.model.backbone.attention
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.vit import ViTTokenizer
from mmgen.modalities.video.tokenizers.vit import VideoViTTokenizer
from mmgen.model.backbone import Transformer
from mmgen.tokenizers import ViT
from mmgen.tokenizers.quantizers import BSQ, VQ, Gaussian, Quantizer, ResidualVQ

QUANTIZERS = pytest.mark.parametrize(
    "make",
    [lambda: BSQ(6), lambda: VQ(16, 4, decay=0.9), lambda: ResidualVQ(8, 4, levels=3), lambda: Gaussian(3)],
    ids=["bsq", "vq", "residual", "gaussian"],
)
CLIP = (2, 3, 3, 8, 8)  # two clips of three 8 x 8 frames, 2 x 2 tokens each


def transformer(dim: int = 24, depth: int = 2, heads: int = 2, **changes: Any) -> Transformer:
    return Transformer(**{"dim": dim, "depth": depth, "heads": heads, "modulation": "none"} | changes)


def small(quantizer: Quantizer | None = None, **changes: Any) -> ViT:
    torch.manual_seed(0)
    options = {"image_size": 8, "channels": 3, "patch": 4} | changes
    kind = VideoViTTokenizer if options.get("frames") else ViTTokenizer
    if kind is ViTTokenizer:
        options.pop("frames", None)
    tokenizer = kind(quantizer or BSQ(16), transformer(), transformer(16, 1), **options)
    tokenizer.train()(samples(8, tokenizer))  # fills a codebook
    return tokenizer.eval()


def samples(batch: int, tokenizer: ViT, seed: int = 0) -> Tensor:
    return uniform(batch, *tokenizer.sample_shape, seed=seed)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def of_frames(tokens: Tokens) -> Tensor:
    """(B, T, h w) or, of residual tokens, (B, T, h w, Q)."""
    return rearrange(tokens.values, "b (t n) ... -> b t n ...", t=tokens.grid[0])


@pytest.mark.parametrize(
    ("options", "sample_shape", "spec"),
    [
        ({}, (3, 8, 8), TokenSpec("bits", 16, (1, 2, 2), modality="image")),
        (
            {"channels": 1, "image_size": 12, "patch": 3},
            (1, 12, 12),
            TokenSpec("bits", 16, (1, 4, 4), modality="image"),
        ),
        ({"patch": 8}, (3, 8, 8), TokenSpec("bits", 16, (1, 1, 1), modality="image")),
        ({"frames": 1}, (3, 1, 8, 8), TokenSpec("bits", 16, (1, 2, 2), modality="video")),
        ({"frames": 5}, (3, 5, 8, 8), TokenSpec("bits", 16, (5, 2, 2), modality="video")),
    ],
)
def test_shapes_and_ranges(options: dict[str, Any], sample_shape: tuple[int, ...], spec: TokenSpec) -> None:
    tokenizer = small(**options)
    assert tokenizer.sample_shape == sample_shape
    assert tokenizer.spec == spec
    x = samples(3, tokenizer)
    tokens = tokenizer.encode(x)
    assert tokens.values.shape == (3, spec.length)
    assert tokens.values.dtype == torch.int64
    assert tokens.grid == spec.grid
    assert tokens.values.min() >= 0
    assert tokens.values.max() < spec.alphabet
    back = tokenizer.decode(Tokens(tokens.values, tokens.grid))
    assert back.shape == x.shape
    assert back.min() >= -1
    assert back.max() <= 1
    assert tokenizer(x).x.shape == x.shape


@QUANTIZERS
@pytest.mark.parametrize("frames", [None, 2])
def test_forward_is_decode_of_encode_and_neither_has_side_effects(
    make: Callable[[], Quantizer], frames: int | None
) -> None:
    tokenizer = small(make(), frames=frames)
    x = samples(5, tokenizer, seed=1)
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    tokens, reconstruction = tokenizer.encode(x), tokenizer(x)
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    inner = (3,) if tokenizer.spec.kind in ("residual", "continuous") else ()
    assert tokens.values.shape == (5, tokenizer.spec.length, *inner)
    assert tokens.values.is_floating_point() == (tokenizer.spec.kind == "continuous")
    torch.testing.assert_close(tokenizer.decode(tokens), reconstruction.x.clamp(-1, 1))
    assert torch.equal(tokenizer.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[name], value) for name, value in tokenizer.state_dict().items())
    assert not tokenizer.decode(tokens).requires_grad
    assert reconstruction.x.requires_grad


def test_a_row_does_not_depend_on_its_batch() -> None:
    tokenizer = small(frames=2).double()
    x = samples(4, tokenizer, seed=2).double()
    whole = tokenizer.encode(x)
    for row in range(4):
        alone = tokenizer.encode(x[row : row + 1])
        assert torch.equal(alone.values[0], whole.values[row])
        torch.testing.assert_close(tokenizer.decode(alone)[0], tokenizer.decode(whole)[row])


def test_later_frames_change_no_earlier_token_and_no_earlier_pixel() -> None:
    tokenizer = small(frames=3).double()
    x = uniform(*CLIP, seed=3).double()
    tokens, pixels = tokenizer.encode(x), tokenizer.decode(tokenizer.encode(x))
    for frame in range(3):
        changed = x.clone()
        changed[:, :, frame] = uniform(2, 3, 8, 8, seed=4).double()
        others = tokenizer.encode(changed)
        moved = (of_frames(others) != of_frames(tokens)).any(dim=(0, 2))
        assert moved.tolist() == [t >= frame for t in range(3)]  # each later frame does see what came before
        known = of_frames(tokens).clone()
        known[:, frame] = of_frames(others)[:, frame]
        drawn = tokenizer.decode(Tokens(known.flatten(1), tokens.grid))
        moved = (drawn - pixels).abs().amax(dim=(0, 1, 3, 4)) > 1e-9
        assert moved.tolist() == [t >= frame for t in range(3)]


def test_the_first_frames_are_coded_as_a_shorter_clip_and_the_first_as_an_image() -> None:
    tokenizer = small(frames=3).double()
    x = uniform(*CLIP, seed=5).double()
    tokens, pixels = tokenizer.encode(x), tokenizer.decode(tokenizer.encode(x))
    for frames in (1, 2):
        start = tokenizer.encode(x[:, :, :frames])
        assert torch.equal(start.values, of_frames(tokens)[:, :frames].flatten(1))
        torch.testing.assert_close(tokenizer.decode(start), pixels[:, :, :frames])
    image = small().double()
    image.load_state_dict(tokenizer.state_dict())  # no weight depends on the number of frames
    first = image.encode(x[:, :, 0])
    assert torch.equal(first.values, of_frames(tokens)[:, 0])
    torch.testing.assert_close(image.decode(first), pixels[:, :, 0])
    torch.testing.assert_close(image(x[:, :, 0]).x.clamp(-1, 1), pixels[:, :, 0])


@pytest.mark.parametrize("window", [None, 3])
def test_clips_of_every_length(window: int | None) -> None:
    tokenizer = small(frames=4, window=window).double()
    x = uniform(1, 3, 33, 8, 8, seed=8).double()
    tokens, pixels = tokenizer.encode(x), tokenizer.decode(tokenizer.encode(x))
    for frames in range(1, 34):
        start = tokenizer.encode(x[:, :, :frames])
        assert start.grid == (frames, 2, 2)
        assert torch.equal(start.values, tokens.values[:, : 4 * frames])
        torch.testing.assert_close(tokenizer.decode(start, frames), pixels[:, :, :frames], rtol=0, atol=1e-10)
    trained = tokenizer(x)
    assert torch.equal(trained.tokens.values, tokens.values)
    torch.testing.assert_close(trained.x.clamp(-1, 1), pixels)


@pytest.mark.parametrize("window", [None, 2])
def test_no_earlier_token_or_pixel_changes_by_a_bit_or_has_a_gradient(window: int | None) -> None:
    tokenizer = small(Gaussian(4), frames=5, window=window).double()
    x = uniform(2, 3, 5, 8, 8, seed=9).double().requires_grad_()
    changed = x.detach().clone()
    changed[:, :, 3] *= -1
    tokens, others = tokenizer.encode(x), tokenizer.encode(changed)
    assert torch.equal(of_frames(others)[:, :3], of_frames(tokens)[:, :3])
    assert torch.equal(tokenizer.decode(others)[:, :, :3], tokenizer.decode(tokens)[:, :, :3])
    (gradient,) = torch.autograd.grad(tokenizer(x).x[:, :, :3].sum(), x)
    assert gradient[:, :, 2].abs().sum() > 0
    assert not gradient[:, :, 3:].any()


def test_a_window_hides_what_is_older_and_depth_widens_it() -> None:
    tokenizer = small(Gaussian(4), frames=9, window=2).double()  # two blocks: a frame depends on two before it
    x = uniform(1, 3, 9, 8, 8, seed=10).double()
    changed = x.clone()
    changed[:, :, 3] *= -1
    moved = (of_frames(tokenizer.encode(changed)) != of_frames(tokenizer.encode(x))).any(dim=(0, 2, 3))
    assert moved.tolist() == [t in (3, 4, 5) for t in range(9)]
    tokens = tokenizer.encode(x)
    values = of_frames(tokens).clone()
    values[:, 3] *= -1
    drawn = tokenizer.decode(Tokens(values.flatten(1, 2), tokens.grid))
    moved = (drawn != tokenizer.decode(tokens)).any(dim=4).any(dim=3).any(dim=1)[0]
    assert moved.tolist() == [t in (3, 4) for t in range(9)]  # one block


def test_a_window_of_all_frames_is_no_window() -> None:
    wide, plain = small(frames=5, window=5), small(frames=5)
    wide.load_state_dict(plain.state_dict())
    x = uniform(2, 3, 5, 8, 8, seed=11)
    assert torch.equal(wide(x).x, plain(x).x)


def test_an_image_needs_no_mask_and_a_clip_does(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, attention = [], mmgen.model.backbone.attention.F.scaled_dot_product_attention

    def spy(*args: Tensor, attn_mask: Tensor | None, is_causal: bool, **options: Any) -> Tensor:
        masks.append(attn_mask)
        assert not is_causal
        return attention(*args, attn_mask=attn_mask, is_causal=is_causal, **options)

    image, clip = small(), small(frames=3)
    monkeypatch.setattr(mmgen.model.backbone.attention.F, "scaled_dot_product_attention", spy)
    image(samples(1, image))
    assert masks == [None] * 3  # two blocks of the encoder, one of the decoder
    masks.clear()
    clip(samples(1, clip))
    frame = torch.arange(12) // 4
    assert len(masks) == 3
    assert all(torch.equal(mask[0, 0], frame[None] <= frame[:, None]) for mask in masks)


def test_patches_lie_in_raster_order() -> None:
    """Without branches a transformer treats each position alone, so that a patch and its token can be matched."""
    tokenizer = small(frames=2, image_size=12).double()
    for block in (*tokenizer.encoder.blocks, *tokenizer.decoder.blocks):
        torch.nn.init.zeros_(block.mixer.out.weight)
        torch.nn.init.zeros_(block.mlp.down.weight)
    x = samples(1, tokenizer, seed=6).double()
    tokens, pixels = tokenizer.encode(x), tokenizer.decode(tokenizer.encode(x))
    for place in range(18):
        t, h, w = place // 9, place // 3 % 3, place % 3
        here = torch.zeros(12, 12, dtype=torch.bool)
        here[4 * h : 4 * h + 4, 4 * w : 4 * w + 4] = True
        changed = x.clone()
        changed[:, :, t] = torch.where(here, -changed[:, :, t], changed[:, :, t])
        others = tokenizer.encode(changed)
        assert (others.values != tokens.values).nonzero().tolist() == [[0, place]]
        moved = (tokenizer.decode(others) - pixels).abs().amax(dim=(0, 1))
        assert not moved[1 - t].any()
        assert not moved[t][~here].any()
        assert moved[t][here].any()


def test_places_are_told_apart() -> None:
    """Two patches that change places do not merely make their tokens change places, in space or in time."""
    tokenizer = small(frames=2).double()
    x = samples(4, tokenizer, seed=7).double()
    for axis in (2, 3, 4):
        mirrored = torch.cat(x.chunk(2, dim=axis)[::-1], dim=axis)
        there = rearrange(tokenizer.encode(mirrored).values, "b (t h w) -> b t h w", t=2, h=2)
        here = rearrange(tokenizer.encode(x).values, "b (t h w) -> b t h w", t=2, h=2)
        assert not torch.equal(there.flip(axis - 1), here)


@pytest.mark.parametrize("frames", [None, 3])
def test_every_weight_is_trained(frames: int | None) -> None:
    tokenizer = small(frames=frames)
    reconstruction = tokenizer(samples(4, tokenizer))
    (reconstruction.x.square().mean() + sum(reconstruction.losses.values())).backward()
    for name, weight in tokenizer.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_pixels_are_linear_in_the_last_layer() -> None:
    tokenizer = small()
    x = samples(2, tokenizer)
    assert any(tokenizer.last_layer is parameter for parameter in tokenizer.parameters())
    torch.nn.init.zeros_(tokenizer.to_pixels.bias)
    made = tokenizer(x).x
    with torch.no_grad():
        tokenizer.last_layer.mul_(-2)
    torch.testing.assert_close(tokenizer(x).x, -2 * made)


def test_what_inference_mode_left_in_caches_serves_training() -> None:
    torch.manual_seed(0)
    tokenizer = VideoViTTokenizer(
        BSQ(16), transformer(), transformer(), 28, 3, 4, frames=5
    )  # a grid that nobody has seen
    x = samples(1, tokenizer)
    with torch.inference_mode():
        tokens = tokenizer.encode(x)
        pixels = tokenizer.decode(tokens)
        tokenizer(x)
    reconstruction = tokenizer(x)
    reconstruction.x.sum().backward()
    with torch.no_grad():
        again = tokenizer(x)
    for each in (reconstruction, again):
        assert torch.equal(each.tokens.values, tokens.values)
        torch.testing.assert_close(each.x.clamp(-1, 1), pixels)


@QUANTIZERS
def test_bfloat16_autocast_and_weights(make: Callable[[], Quantizer]) -> None:
    tokenizer = small(make(), frames=2)
    x = samples(4, tokenizer)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = tokenizer(x)
        reconstruction.x.float().square().mean().backward()
        assert tokenizer.decode(tokenizer.encode(x)).shape == x.shape
    assert all(loss.dtype == torch.float32 for loss in reconstruction.losses.values())
    assert all(weight.grad.isfinite().all() for weight in tokenizer.parameters())
    low = tokenizer.bfloat16()
    assert low.decode(low.encode(x.bfloat16())).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("frames", "x", "message"),
    [
        (None, torch.zeros(2, 3, 10, 8), r"\(batch, 3, 8, 8\) in \[-1, 1\], got shape \(2, 3, 10, 8\)"),
        (None, torch.zeros(2, 3, 1, 8, 8), r"got shape \(2, 3, 1, 8, 8\)"),
        (None, torch.full((2, 3, 8, 8), 255.0), "values from 255 to 255"),
        (3, torch.zeros(2, 3, 8, 8), r"\(batch, 3, frames, 8, 8\) in \[-1, 1\], got shape \(2, 3, 8, 8\)"),
        (3, torch.zeros(2, 3, 4, 8, 12), r"got shape \(2, 3, 4, 8, 12\)"),
        (3, torch.zeros(2, 1, 4, 8, 8), r"got shape \(2, 1, 4, 8, 8\)"),
        (3, torch.zeros(2, 3, 0, 8, 8), "got clips of no frames"),
        (3, torch.zeros(0, 3, 2, 8, 8), "got an empty batch"),
        (3, torch.full((1, 3, 4, 8, 8), torch.nan), "values from nan to nan"),
    ],
)
def test_wrong_samples_are_named(frames: int | None, x: Tensor, message: str) -> None:
    tokenizer = small(frames=frames)
    for use in (tokenizer, tokenizer.encode):
        with pytest.raises(UserError, match=message):
            use(x)


def test_wrong_tokens_are_named() -> None:
    with pytest.raises(UserError, match=r"grid of \(1, 2, 2\), got \(2, 2, 2\)"):
        small().decode(Tokens(torch.zeros(1, 8, dtype=torch.int64), (2, 2, 2)))
    for grid in ((3, 2, 1), (0, 2, 2)):
        with pytest.raises(UserError, match=r"grid of \(latents, 2, 2\), got \(" + f"{grid[0]}, 2, {grid[2]}"):
            small(frames=3).decode(Tokens(torch.zeros(1, 2 * grid[0] * grid[2], dtype=torch.int64), grid))
    with pytest.raises(UserError, match=r"tokens of shape \(batch, 8\), got \(1, 8, 3\)"):
        small(frames=3).decode(Tokens(torch.zeros(1, 8, 3, dtype=torch.int64), (2, 2, 2)))
    with pytest.raises(UserError, match="2 latents are 2 frames to VideoViTTokenizer, not 3"):
        small(frames=3).decode(Tokens(torch.zeros(1, 8, dtype=torch.int64), (2, 2, 2)), 3)
    with pytest.raises(UserError, match="codes 0 to 65535, got 65536 to 65536"):
        small().decode(Tokens(torch.full((1, 4), 2**16), (1, 2, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30}, "image_size 30 is not divisible by the patch of 4 pixels"),
        ({"patch": 0}, "patch and frames must be at least 1; got 8, 3, 0, None"),
        ({"frames": 0}, "must be at least 1; got 8, 3, 4, 0"),
        ({"encoder": transformer(modulation="adaln")}, "the encoder .* set its modulation to none"),
        ({"decoder": transformer(modulation="adaln_shared")}, "the decoder .* set its modulation to none"),
        ({"encoder": transformer(rope=None)}, r"the encoder .* places along h apart: .* such as \[0, 1, 1\]"),
        ({"decoder": transformer(rope=(1, 1, 0))}, "the decoder .* places along w apart"),
        ({"frames": 1, "decoder": transformer(rope=(0, 1, 1))}, r"places along t apart: .* such as \[1, 1, 1\]"),
        ({"frames": 2, "window": 0}, "window 0 must be at least 1"),
        ({"encoder": transformer(heads=12)}, "places along w apart: .* heads wide enough"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    parts = {"quantizer": BSQ(6), "encoder": transformer(), "decoder": transformer()}
    with pytest.raises(UserError, match=message):
        (VideoViTTokenizer if "frames" in options else ViTTokenizer)(**parts | {"image_size": 8, "patch": 4} | options)


def test_heads_of_odd_width_are_named() -> None:
    with pytest.raises(UserError, match="even head width"):
        transformer(dim=9, heads=3)

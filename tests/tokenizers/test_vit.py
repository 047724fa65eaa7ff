"""ViT: frames, windows, patches and places; its contract is in test_laws.py."""

from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

import mmgen.model.backbone.attention
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.image.tokenizers.vit import ViTTokenizer
from mmgen.modalities.video.tokenizers.vit import VideoViTTokenizer
from mmgen.tokenizers import ViT
from mmgen.tokenizers.quantizers import BSQ, Gaussian, Quantizer
from tests.tokenizers.zoo import transformer, vit

CLIP = (2, 3, 3, 8, 8)  # two clips of three 8 x 8 frames, 2 x 2 tokens each


def small(quantizer: Quantizer | None = None, **changes: Any) -> ViT:
    torch.manual_seed(0)
    return vit(quantizer or BSQ(16), **changes).eval()


def samples(batch: int, tokenizer: ViT, seed: int = 0) -> Tensor:
    return uniform(batch, *tokenizer.sample_shape, seed=seed)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def of_frames(tokens: Tokens) -> Tensor:
    """(B, T, h w) or, of residual tokens, (B, T, h w, Q)."""
    return rearrange(tokens.values, "b (t n) ... -> b t n ...", t=tokens.grid[0])


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

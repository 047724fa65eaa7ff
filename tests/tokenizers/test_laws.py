"""What holds for every tokenizer around a quantizer: the contract, lengths, causality, streams, training, mistakes."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.speech.tokenizers.mel import MelTokenizer
from mmgen.modalities.speech.tokenizers.seanet import SpectralHead
from mmgen.tokenizers import QuantizedTokenizer, TokenizerStream
from tests.tokenizers.zoo import ALL, CAUSAL, IMAGES, KINDS, QUANTIZERS, TIMED, fresh, samples, small

every = pytest.mark.parametrize("name", ALL)
timed = pytest.mark.parametrize("name", TIMED)
causal = pytest.mark.parametrize("name", CAUSAL)


def by_time(tokens: Tokens) -> Tensor:
    """(B, latents, ...)."""
    return tokens.values.unflatten(1, (tokens.grid[0], -1))


def as_samples(tokenizer: QuantizedTokenizer, made: Tensor, length: int) -> Tensor:
    """What `forward` made, as `decode` gives it."""
    return (tokenizer.sound(made) if isinstance(tokenizer, MelTokenizer) else tokenizer.bounded(made))[:, :, :length]


def token_end(spec: TokenSpec, length: int, token: int) -> int:
    """Frames or samples up to the end of a token, of a clip of that length."""
    first = spec.stride if spec.fills_end else (length - 1) % spec.stride + 1
    return first + spec.stride * token


def lookahead(tokenizer: QuantizedTokenizer) -> int:
    return tokenizer.spec.stride * getattr(tokenizer, "lookahead", 0)


def encoded(stream: TokenizerStream, chunks: Any) -> Tensor:
    """The tokens of consecutive chunks, those that wait for the end included."""
    values = [stream.encode(chunk).values for chunk in chunks]
    rest = stream.finish()
    return torch.cat([*values, *([] if rest is None else [rest.values])], 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ALL for kind in QUANTIZERS if kind in ("residual", "continuous") or "," not in name],
)
def test_forward_is_decode_of_encode_and_neither_has_side_effects(name: str, kind: str) -> None:
    tokenizer = small(name, kind).double()
    x, spec, quantizer = samples(tokenizer, 3), tokenizer.spec, tokenizer.quantizer
    assert spec == TokenSpec.from_dict(spec.to_dict())
    assert (spec.kind, spec.size, spec.levels) == (KINDS.get(kind, kind), quantizer.size, quantizer.levels)
    before = copy.deepcopy(tokenizer.state_dict())
    tokens, reconstruction = tokenizer.encode(x), tokenizer(x)
    assert tokens.grid == spec.grid
    assert tokens.values.shape == (3, spec.length, *([3] if kind in ("residual", "continuous") else []))
    assert tokens.values.is_floating_point() == (kind == "continuous")
    torch.testing.assert_close(reconstruction.tokens.values, tokens.values)
    back, length = tokenizer.decode(tokens), x.shape[2]
    assert torch.equal(tokenizer.decode(tokens)[:, :, :length], back[:, :, :length])
    torch.testing.assert_close(back[:, :, :length], as_samples(tokenizer, reconstruction.x, length))
    assert back.shape[:2] == x.shape[:2] and back.shape[3:] == x.shape[3:] and not back.requires_grad
    assert reconstruction.x.requires_grad
    assert spec.modality == "motion" or back.abs().max() <= 1
    assert torch.equal(tokenizer.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[key], value) for key, value in tokenizer.state_dict().items())


@every
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    tokenizer = small(name, "bits").double()
    x = samples(tokenizer, 3)
    whole = tokenizer.encode(x)
    for row in range(3):
        single = tokenizer.encode(x[row : row + 1])
        assert torch.equal(single.values[0], whole.values[row])
        torch.testing.assert_close(tokenizer.decode(single)[0], tokenizer.decode(whole)[row], atol=1e-6, rtol=1e-5)


@every
def test_every_weight_is_trained_and_the_output_is_affine_in_the_last_layer(name: str) -> None:
    tokenizer = fresh(name, "bits").train()
    optimizer, x = torch.optim.SGD(tokenizer.parameters(), lr=0.1), samples(tokenizer, 4)
    for _ in range(2):  # the zero-initialised maps let gradients through from the second step on
        optimizer.zero_grad()
        made = tokenizer(x)
        ((made.x - (x if made.target is None else made.target)).square().mean() + sum(made.losses.values())).backward()
        optimizer.step()
    for weight_name, weight in tokenizer.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), weight_name
        # A softmax over keys does not see what is added to all of them.
        assert weight.grad.abs().sum() > 0 or weight_name.endswith("to_k.bias"), weight_name
    assert any(tokenizer.last_layer is each for each in tokenizer.parameters())
    if isinstance(getattr(tokenizer, "head", None), SpectralHead):
        return  # its last layer draws logarithms of magnitudes
    outputs = []
    with torch.no_grad():
        for factor in (1, 3, 0):
            changed = copy.deepcopy(tokenizer).eval()
            changed.last_layer.mul_(factor)
            outputs.append(changed(x).x)
    once, thrice, bias = outputs
    assert (once - bias).abs().max() > 1e-3
    torch.testing.assert_close(thrice - bias, 3 * (once - bias), atol=1e-4, rtol=1e-4)


@every
@pytest.mark.parametrize("kind", ["residual", "continuous"])
def test_bfloat16_autocast_and_weights(name: str, kind: str) -> None:
    tokenizer = small(name, kind).train()
    x = samples(tokenizer, 2)
    with torch.autocast("cpu", torch.bfloat16):
        made = tokenizer(x)
        made.x.float().square().mean().backward()
        tokens = tokenizer.encode(x)
        assert tokens.values.dtype == (torch.int64 if kind == "residual" else torch.float32)
        assert tokenizer.decode(tokens).shape[:2] == x.shape[:2]
    assert all(loss.dtype == torch.float32 for loss in made.losses.values())
    assert all(each.grad is None or each.grad.isfinite().all() for each in tokenizer.parameters())
    low = tokenizer.bfloat16()
    back = low.decode(low.encode(x.bfloat16()))
    assert back.dtype == (torch.float32 if isinstance(low, MelTokenizer) else torch.bfloat16)


@every
def test_training_resumes_bit_for_bit(name: str) -> None:
    tokenizer = small(name, "residual").train()
    x, resumed = samples(tokenizer, 3), fresh(name, "residual").train()
    resumed.load_state_dict(tokenizer.state_dict())
    for other in (resumed, copy.deepcopy(tokenizer)):
        trained = copy.deepcopy(tokenizer)
        for _ in range(2):
            assert torch.equal(trained(x).x, other(x).x)
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in trained.state_dict().items())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("image conv", "bits"),
        ("image conv", "vq"),
        ("video conv", "continuous"),
        ("codec", "continuous"),
        ("codec, istft", "vq"),
        ("motion patches", "residual"),
    ],
)
def test_overfits_a_batch(name: str, kind: str) -> None:
    tokenizer = small(name, kind).train()
    x = samples(tokenizer, 2).mul(0.5)
    x = x[..., :1, :1].expand_as(x) if x.dim() == 4 else x
    optimizer, errors = torch.optim.Adam(tokenizer.parameters(), lr=1e-2), []
    for _ in range(40):
        made = tokenizer(x)
        error = (made.x - (x if made.target is None else made.target)).square().mean()
        errors.append(error.item())
        optimizer.zero_grad()
        (error + sum(made.losses.values())).backward()
        optimizer.step()
    assert errors[-1] < 0.8 * errors[0]


@timed
def test_clips_of_every_length(name: str) -> None:
    tokenizer = small(name)
    spec, stride, dims = tokenizer.spec, tokenizer.spec.stride, tokenizer.sample_shape
    for length in (1, 2, stride, stride + 1, 2 * stride, 4 * stride + 1):
        x = samples(tokenizer, 1, length)
        tokens = tokenizer.encode(x)
        latents = math.ceil(length / stride)
        assert tokens.grid == spec.with_frames(length).grid == (latents, *spec.grid[1:])
        back, whole = tokenizer.decode(tokens, length), tokenizer.decode(tokens)
        assert back.shape == x.shape
        assert whole.shape == (1, dims[0], spec.frames(latents), *dims[2:])
        if spec.fills_end:
            assert torch.equal(whole[:, :, :length], back)
            still = x[..., -1:] if spec.modality == "motion" else torch.zeros_like(x[..., -1:])
            filled = torch.cat([x, still.expand(-1, -1, -length % stride)], 2)
            assert torch.equal(tokenizer.encode(filled).values, tokens.values)
        made = tokenizer(x)
        assert made.tokens.grid == tokens.grid and (made.target is not None or made.x.shape == x.shape)


@causal
def test_later_frames_change_no_bit_and_get_no_gradient(name: str) -> None:
    """Output up to the end of a token depends on what came up to there, and on as many tokens more as the encoder looks
    ahead; so the beginning of a clip is coded as if it were all.
    """
    tokenizer = small(name).double()
    spec, ahead = tokenizer.spec, lookahead(tokenizer)
    for length in (2, spec.stride, 3 * spec.stride + 2, 6 * spec.stride + 2):
        x, noise = samples(tokenizer, 1, length), samples(tokenizer, 1, length, seed=1)
        tokens = tokenizer.encode(x)
        for token in {0, tokens.grid[0] // 2, tokens.grid[0] - 1}:
            end = token_end(spec, length, token)
            border = end + ahead
            others = tokenizer.encode(torch.cat([x[:, :, :border], noise[:, :, border:]], 2))
            assert torch.equal(by_time(tokens)[:, : token + 1], by_time(others)[:, : token + 1])
            made, unlike = tokenizer.decode(tokens, length), tokenizer.decode(others, length)
            assert torch.equal(made[:, :, :end], unlike[:, :, :end])
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(tokenizer(leaf).x[:, :, :end].sum(), leaf)
            assert not gradient[:, :, border:].any() and gradient[:, :, min(border, length) - 1].any()
            if border < length:
                assert not torch.equal(by_time(tokens)[:, token + 1 :], by_time(others)[:, token + 1 :])
                assert not torch.equal(made[:, :, end:], unlike[:, :, end:])
            if not ahead:
                begun = tokenizer.encode(x[:, :, :end])
                torch.testing.assert_close(by_time(tokens)[:, : token + 1], by_time(begun), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["motion, centred", "motion patches, centred"])
def test_without_causality_later_frames_count(name: str) -> None:
    tokenizer = small(name)
    x, noise = samples(tokenizer, 1, 22), samples(tokenizer, 1, 22, seed=1)
    tokens, others = (tokenizer.encode(each).values for each in (x, torch.cat([x[..., :4], noise[..., 4:]], 2)))
    assert not torch.equal(tokens[:, 0], others[:, 0])
    mixed = torch.cat([tokens[:, :1], others[:, 1:]], 1)  # and later tokens in a frame
    one, two = (tokenizer.decode(Tokens(each, (6, 1, 1))) for each in (tokens, mixed))
    assert not torch.equal(one[..., :4], two[..., :4])


@pytest.mark.parametrize("name", [name for name in ALL if name not in CAUSAL])
def test_what_is_not_causal_has_no_stream(name: str) -> None:
    with pytest.raises(UserError, match=r"codes whole (samples|motions).*causal"):
        fresh(name).streaming()


@causal
@pytest.mark.parametrize(("kind", "dtype"), [("residual", torch.float64), ("continuous", torch.float32)])
@settings(deadline=None, max_examples=6, derandomize=True)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    odd=st.integers(0, 5),
    pieces=st.lists(st.integers(1, 6), min_size=1, max_size=20),
)
def test_chunks_equal_the_whole(
    name: str, kind: str, dtype: torch.dtype, counts: list[int], odd: int, pieces: list[int]
) -> None:
    """Codes are chosen in float64, where none is chosen by rounding; decoded in other pieces than they were made in."""
    tokenizer = small(name, kind).to(dtype)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    spec, stride = tokenizer.spec, tokenizer.spec.stride
    sizes = [stride * count for count in counts]
    sizes = sizes + [odd % stride] * (odd % stride > 0) if spec.fills_end else [1 + odd, *sizes]
    length = sum(sizes)
    x = samples(tokenizer, 2, length)
    whole, stream = tokenizer.encode(x), tokenizer.streaming()
    torch.testing.assert_close(encoded(stream, x.split(sizes, 2)), whole.values, atol=tolerance, rtol=tolerance)
    assert stream.encoded == whole.grid[0]

    left, made = by_time(whole), []
    for size in [*pieces, 99]:
        piece, left = left[:, :size], left[:, size:]
        if not piece.shape[1]:
            continue
        odd_one = not left.shape[1] if spec.fills_end else not made
        others = sum(each.shape[2] for each in made) if spec.fills_end else stride * left.shape[1]
        tokens = Tokens(piece.flatten(1, 2), (piece.shape[1], *whole.grid[1:]))
        made.append(stream.decode(tokens, length - others if odd_one else None))
    back = tokenizer.decode(whole, length)
    torch.testing.assert_close(torch.cat(made, 2), back, atol=tolerance, rtol=tolerance)


@causal
def test_streams_share_a_tokenizer_go_in_and_out_of_inference_mode_and_leave_it_as_it_was(name: str) -> None:
    tokenizer = small(name, "residual").double()
    stride, x = tokenizer.spec.stride, samples(tokenizer, 2, 4 * tokenizer.spec.stride)
    before = copy.deepcopy(tokenizer.state_dict())
    attributes = {key: set(vars(each)) for key, each in tokenizer.named_modules()}
    whole, streams = tokenizer.encode(x), [tokenizer.streaming(), tokenizer.streaming()]
    parts: list[list[Tensor]] = [[], []]
    for start in range(0, x.shape[2], stride):
        for number, stream in enumerate(streams):
            with torch.inference_mode((number + start // stride) % 2 == 0):
                parts[number].append(stream.encode(x[:, :, start : start + stride].clone()).values)
    for part in parts:
        values = torch.cat(part, 1)
        torch.testing.assert_close(values, whole.values[:, : values.shape[1]], atol=1e-10, rtol=0)
    assert all(torch.equal(before[key], value) for key, value in tokenizer.state_dict().items())
    assert attributes == {key: set(vars(each)) for key, each in tokenizer.named_modules()}


@pytest.mark.parametrize("name", ["codec, istft", "motion", "mel"])
def test_the_first_levels_decode_too(name: str) -> None:
    tokenizer = small(name, "residual")
    tokens = tokenizer.encode(samples(tokenizer, 2))
    backs = []
    for levels in (1, 2, 3):
        backs.append(tokenizer.decode(Tokens(tokens.values[..., :levels], tokens.grid)))
        codes = tokenizer.quantizer.lookup(tokens.values[..., :levels])[:, :, None, None]
        expected = tokenizer.bounded(tokenizer.samples(codes, backs[-1].shape[2], {}))
        assert torch.equal(backs[-1], expected.detach())
    assert not torch.equal(backs[0], backs[2])
    for wrong in (tokens.values[..., :0], tokens.values.repeat(1, 1, 2), tokens.values[..., 0]):
        with pytest.raises(UserError, match=r"decodes tokens of shape \(batch, \d+, 1\) to \(batch, \d+, 3\), got"):
            tokenizer.decode(Tokens(wrong, tokens.grid))


@every
def test_samples_that_do_not_fit_are_named(name: str) -> None:
    tokenizer = fresh(name).eval()  # in training, a step with NaN is skipped
    x, bounded = samples(tokenizer, 2), tokenizer.spec.modality != "motion"
    shape = [str(size) for size in tokenizer.sample_shape]
    if tokenizer.spec.unit is not None:
        shape[1] = tokenizer.spec.unit
    kind = r"in \[-1, 1\]" if bounded else "without NaN or infinity"
    uses = [tokenizer, tokenizer.encode] + ([tokenizer.streaming().encode] if name in CAUSAL else [])
    for wrong, message in (
        (x[0], rf"expects float samples of shape \(batch, {', '.join(shape)}\) {kind}, got shape"),
        (x.repeat(1, 2, *([1] * (x.ndim - 2))), "got shape|takes"),
        (x[:0], "got an empty batch"),
        (x.long(), r"got torch.int64" + ("; for 8-bit data use x / 127.5 - 1" if bounded else "$")),
        (x * float("nan"), "got values from nan to nan"),
        (x * 1e38 * 1e38 if not bounded else x * 9, "got values from"),
        *([(x[:, :, :0], f"got clips of no {tokenizer.spec.unit}")] if name in TIMED else []),
    ):
        for use in uses:
            with pytest.raises(UserError, match=message):
                use(wrong)


@every
def test_tokens_that_do_not_fit_are_named(name: str) -> None:
    discrete, continuous = small(name, "vq"), small(name)
    spec, who = discrete.spec, type(discrete).__name__
    h, w = spec.grid[1:]
    grid = rf"\({'latents' if name in TIMED else 1}, {h}, {w}\)"
    values = torch.zeros(1, spec.length, dtype=torch.int64)
    cases: list[tuple[QuantizedTokenizer, Tensor, Any, str]] = [
        (discrete, torch.zeros(1, 3 * (w + 1), dtype=torch.int64), (1, 3, w + 1), f"decodes a token grid of {grid}"),
        (discrete, values[:, :0], (0, h, w), f"decodes a token grid of {grid}, got"),
        (discrete, values[..., None].repeat(1, 1, 3), spec.grid, rf"tokens of shape \(batch, {spec.length}\), got"),
        (discrete, values + 16, spec.grid, "has codes 0 to 15, got 16 to 16"),
        (discrete, values - 20, spec.grid, "is a mask token among them"),
        (continuous, values.float()[..., None].repeat(1, 1, 3) / 0, spec.grid, "finite floats, got NaN or infinity"),
        (continuous, values[..., None].repeat(1, 1, 3), spec.grid, "finite floats, got torch.int64"),
    ]
    for tokenizer, wrong, its_grid, message in cases:
        with pytest.raises(UserError, match=message):
            tokenizer.decode(Tokens(wrong, its_grid))
    if name in TIMED:
        latents, stride = spec.grid[0], spec.stride
        for length in (stride * (latents - 1), stride * latents + 1):
            with pytest.raises(UserError, match=rf"{latents} latents are .* {spec.unit} to {who}, not {length}"):
                discrete.decode(Tokens(values, spec.grid), length)
    with pytest.raises(UserError, match="codebook is empty"):
        fresh(name, "vq").eval().encode(samples(discrete, 1))


@every
def test_an_encoder_that_diverges_is_named(name: str) -> None:
    tokenizer = small(name)
    with torch.no_grad():
        next(each for key, each in reversed(list(tokenizer.named_parameters())) if "encoder" in key).fill_(math.nan)
        for each in (tokenizer.encoder, getattr(tokenizer, "to_latents", None)):
            if isinstance(each, torch.nn.Module):
                next(each.parameters()).fill_(math.nan)
    assert tokenizer.train()(samples(tokenizer, 1)).x.isnan().all()  # its step is skipped
    for use in (tokenizer.eval(), tokenizer.encode):
        with pytest.raises(UserError, match="the encoder has diverged"):
            use(samples(tokenizer, 1))


def test_images_have_one_latent_along_time() -> None:
    assert all(fresh(name).spec.grid[0] == 1 for name in IMAGES)

"""SEANetCodec: any length with the remainder last, causality to the bit, streams, fewer levels, and mistakes."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.speech.tokenizers.codec import CodecStream, SEANetCodec
from mmgen.modalities.speech.tokenizers.seanet import GrowTime, SpectralHead
from mmgen.store.store import load_tokenizer, save_export, weights_hash
from mmgen.tokenizers import TokenizerStream
from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.quantizers import BSQ, FSQ, VQ, Gaussian, Quantizer, ResidualVQ

HOP = 6
LENGTHS = range(1, 4 * HOP + 2)
HEADS: dict[str, dict[str, Any]] = {
    "conv": {},
    "units": {"units": 2, "blocks": 0},
    "istft": {"head": "istft"},
    "short overlap": {"head": "istft", "overlap": 0.3},
    "mel": {"front": "mel", "head": "istft"},
    "ahead": {"front": "mel", "head": "istft", "lookahead": 1},
    "far ahead": {"lookahead": 2},
}
KINDS: dict[str, tuple[Any, str]] = {
    "bsq": (lambda: BSQ(6), "bits"),
    "fsq": (lambda: FSQ([4, 5, 3]), "categorical"),
    "vq": (lambda: VQ(32, 4), "categorical"),
    "residual": (lambda: ResidualVQ(16, 4, levels=3), "residual"),
    "gaussian": (lambda: Gaussian(3), "continuous"),
}
SIZES: dict[str, Any] = {
    "sample_rate": 600, "seconds": 0.04, "ratios": (3, 2), "channels": 4, "width": 8, "blocks": 1,
}  # fmt: skip
heads = pytest.mark.parametrize("head", HEADS)


def sounds(batch: int, samples: int, seed: int = 0) -> Tensor:
    """White noise in [-1, 1], of which the first samples are the same whatever the number."""
    generators = [torch.Generator().manual_seed(1000 * seed + row) for row in range(batch)]
    return torch.stack([torch.rand(1, samples, generator=each) for each in generators]) * 2 - 1


def small(quantizer: Quantizer | None = None, head: str = "conv", **changes: Any) -> SEANetCodec:
    """Untrained, but with no weight at the zero that blocks begin with: at first, they would do nothing."""
    torch.manual_seed(0)
    codec = SEANetCodec(quantizer or Gaussian(3), **SIZES | HEADS[head] | changes)
    with torch.no_grad():
        for layer in codec.modules():
            if isinstance(layer, FrameBlock):
                layer.mlp.get_parameter("3.weight").normal_(std=0.3)
            if isinstance(layer, SpectralHead):
                layer.out.weight.mul_(10)
    codec.train()(sounds(4, codec.sample_shape[1]))  # fills codebooks and moments
    return codec.eval()


def encoded(stream: TokenizerStream, chunks: Sequence[Tensor]) -> Tensor:
    """The tokens of consecutive chunks, the last ones included."""
    assert isinstance(stream, CodecStream)
    return torch.cat([*(stream.encode(chunk).values for chunk in chunks), stream.finish().values], 1)


@heads
def test_every_length_has_its_tokens_with_silence_after_it(head: str) -> None:
    codec = small(head=head)
    for samples in LENGTHS:
        x = sounds(1, samples)
        tokens = codec.encode(x)
        count = math.ceil(samples / HOP)
        assert tokens.grid == (count, 1, 1) and tokens.values.shape == (1, count, 3)
        assert torch.equal(tokens.values, codec.encode(F.pad(x, (0, count * HOP - samples))).values)
        whole = codec.decode(tokens)
        assert whole.shape == (1, 1, count * HOP) and whole.abs().max() <= 1
        assert torch.equal(codec.decode(tokens, samples), whole[..., :samples])
        made = codec(x)
        assert made.x.shape == x.shape and made.tokens.grid == tokens.grid


@heads
def test_later_samples_change_no_bit_and_get_no_gradient(head: str) -> None:
    """Output up to the end of a token depends on samples up to there, and on as many tokens' as the encoder looks
    ahead: that is the latency.
    """
    codec = small(head=head)
    ahead = HOP * HEADS[head].get("lookahead", 0)
    assert codec.latency == HOP + ahead
    for samples in (2, HOP, HOP + 2, 3 * HOP + 2, 6 * HOP + 2):
        x = sounds(1, samples)
        for token in range(math.ceil(samples / HOP)):
            end = HOP * (token + 1)
            border = end + ahead
            changed = torch.cat([x[..., :border], sounds(1, samples, seed=1)[..., border:]], -1)
            tokens, others = codec.encode(x), codec.encode(changed)
            assert torch.equal(tokens.values[:, : token + 1], others.values[:, : token + 1])
            made, unlike = codec.decode(tokens, samples), codec.decode(others, samples)
            assert torch.equal(made[..., :end], unlike[..., :end])
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(codec(leaf).x[..., :end].sum(), leaf)
            assert not gradient[..., border:].any()
            assert gradient[..., : min(border, samples)].all()  # while each earlier sample counts
            if border < samples:
                assert (tokens.values[:, token + 1 :] != others.values[:, token + 1 :]).any(dim=(0, 2)).all()
                assert not torch.equal(made[..., end:], unlike[..., end:])


@heads
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"])
@settings(deadline=None, max_examples=10, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    ragged=st.integers(0, HOP - 1),
    pieces=st.lists(st.integers(1, 7), min_size=1, max_size=40),
)
def test_chunks_equal_the_whole(
    head: str, dtype: torch.dtype, tolerance: float, sizes: list[int], ragged: int, pieces: list[int]
) -> None:
    codec = small(head=head).to(dtype)
    chunks = [HOP * n for n in sizes] + [ragged] * (ragged > 0)
    x = sounds(2, sum(chunks)).to(dtype)
    whole = codec.encode(x)
    made = codec.decode(whole, sum(chunks))

    stream = codec.streaming()
    coded = encoded(stream, x.split(chunks, dim=2))
    torch.testing.assert_close(coded, whole.values, atol=tolerance, rtol=tolerance)
    assert stream.encoded == whole.grid[0]

    heard: list[Tensor] = []
    left = whole.values
    for size in [*pieces, 99]:  # tokens, not grouped as they were made
        part, left = left[:, :size], left[:, size:]
        if part.shape[1]:
            samples = None if left.shape[1] else sum(chunks) - sum(each.shape[2] for each in heard)
            heard.append(stream.decode(Tokens(part, (part.shape[1], 1, 1)), samples))
    torch.testing.assert_close(torch.cat(heard, 2), made, atol=tolerance, rtol=tolerance)


@heads
@pytest.mark.parametrize("size", range(1, 6))
def test_streamed_tokens_are_equal_to_the_bit(head: str, size: int) -> None:
    codec = small(ResidualVQ(16, 4, levels=3), head).double()
    x = sounds(2, 40 * HOP + 1).double()
    stream = codec.streaming()
    coded = encoded(stream, x.split(size * HOP, dim=2))
    assert torch.equal(coded, codec.encode(x).values)


@heads
def test_a_sound_may_begin_with_silence_that_is_not_there(head: str) -> None:
    """Before the first sample there is silence, as after the last: whole tokens of it shift what follows. What has been
    silent for as long as any layer sees back is coded like what never was.
    """
    codec = small(head=head, blocks=0).double()  # no bias of a block tells a beginning from silence
    silence = 40 * HOP
    x = F.pad(sounds(1, 3 * HOP).double(), (silence, 0))
    further = F.pad(x, (HOP, 0))
    tokens, shifted = codec.encode(x), codec.encode(further)
    torch.testing.assert_close(shifted.values[:, -10:], tokens.values[:, -10:], atol=1e-12, rtol=0)
    torch.testing.assert_close(
        codec.decode(shifted)[..., -3 * HOP :], codec.decode(tokens)[..., -3 * HOP :], atol=1e-12, rtol=0
    )


def test_a_stream_ends_with_a_ragged_chunk() -> None:
    codec, x = small(), sounds(2, 3 * HOP + 2)
    stream, tokens = codec.streaming(), codec.encode(x)
    coded = [stream.encode(x[..., : 2 * HOP]).values]
    with pytest.raises(UserError, match="encodes 2 clips at once, got 1"):
        stream.encode(x[:1, :, 2 * HOP :])
    coded.append(stream.encode(x[..., 2 * HOP :]).values)
    torch.testing.assert_close(torch.cat(coded, 1), tokens.values, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="this stream encodes no more: it ended with 8 samples, no multiple of 6"):
        stream.encode(x[..., :HOP])
    first, second = Tokens(tokens.values[:, :3], (3, 1, 1)), Tokens(tokens.values[:, 3:], (1, 1, 1))
    heard = [stream.decode(first, None)]  # decoding goes on by itself
    with pytest.raises(UserError, match="1 latents are 1 to 6 samples to SEANetCodec, not 7"):
        stream.decode(second, 7)
    heard.append(stream.decode(second, 2))
    torch.testing.assert_close(torch.cat(heard, 2), codec.decode(tokens, 3 * HOP + 2), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="this stream decodes no more: it ended with 2 samples"):
        stream.decode(second)
    assert (stream.encoded, stream.decoded) == (4, 4)


def test_an_encoder_that_looks_ahead_waits_and_is_finished() -> None:
    codec, x = small(ResidualVQ(16, 4, levels=3), "ahead").double(), sounds(2, 3 * HOP).double()
    stream, whole = codec.streaming(), codec.encode(x).values
    assert isinstance(stream, CodecStream)
    with pytest.raises(UserError, match="a stream is finished once, after it has encoded something"):
        stream.finish()
    assert stream.encode(x[..., :HOP]).grid == (0, 1, 1)
    assert torch.equal(stream.encode(x[..., HOP : 2 * HOP]).values, whole[:, :1])
    assert torch.equal(stream.encode(x[..., 2 * HOP :]).values, whole[:, 1:2])
    assert stream.encoded == 2
    assert torch.equal(stream.finish().values, whole[:, 2:])
    assert stream.encoded == 3
    with pytest.raises(UserError, match="this stream encodes no more: it is finished"):
        stream.encode(x)
    with pytest.raises(UserError, match="a stream is finished once"):
        stream.finish()


def test_streams_share_a_codec_and_leave_it_as_it_was() -> None:
    codec, x = small(head="istft"), sounds(1, 4 * HOP)
    before = copy.deepcopy(codec.state_dict())
    one, other, whole = codec.streaming(), codec.streaming(), codec.encode(x)
    for stream in (one, other, one, other):
        start = HOP * stream.encoded
        with torch.inference_mode(stream is one):
            got = stream.encode(x[..., start : start + HOP])
        torch.testing.assert_close(got.values[:, 0], whole.values[:, start // HOP], atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], value) for name, value in codec.state_dict().items())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("head", ["conv", "istft"])
@torch.no_grad()
def test_any_quantizer_is_a_bottleneck(name: str, head: str) -> None:
    make, kind = KINDS[name]
    codec, x = small(make(), head), sounds(3, 24)
    quantizer = codec.quantizer
    spec = TokenSpec(quantizer.kind, quantizer.size, (4, 1, 1), quantizer.levels, "speech", 100.0, HOP, HOP)
    assert codec.spec == spec and spec.kind == kind
    assert codec.sample_shape == (1, 24) and codec.sample_rate == 600
    tokens, before = codec.encode(x), copy.deepcopy(codec.state_dict())
    assert tokens.values.shape[:2] == (3, spec.length)
    back, reconstruction = codec.decode(tokens), codec(x)
    assert back.shape == x.shape and back.abs().max() <= 1
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    torch.testing.assert_close(back, reconstruction.x.clamp(-1, 1))
    assert torch.equal(codec.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[key], value) for key, value in codec.state_dict().items())


@heads
def test_the_first_levels_decode_too(head: str) -> None:
    codec = small(ResidualVQ(16, 4, levels=3), head)
    tokens = codec.encode(sounds(2, 24))
    for levels in (1, 2, 3):
        some = Tokens(tokens.values[..., :levels], tokens.grid)
        codes = codec.quantizer.lookup(some.values)[:, :, None, None]
        with torch.no_grad():
            expected = codec.samples(codes, 24, {}).clamp(-1, 1)
        assert torch.equal(codec.decode(some), expected)
    for wrong in (tokens.values[..., :0], tokens.values.repeat(1, 1, 2), tokens.values[..., 0]):
        with pytest.raises(UserError, match=r"decodes tokens of shape \(batch, 4, 1\) to \(batch, 4, 3\), got"):
            codec.decode(Tokens(wrong, tokens.grid))


@pytest.mark.parametrize(("stride", "kernel", "dilation"), [(1, 7, 1), (1, 3, 4), (1, 1, 1), (3, 6, 1), (4, 8, 1)])
def test_causal_convolution_is_a_convolution_after_padding(stride: int, kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer, x = CausalConv(3, 5, kernel, stride, dilation), torch.randn(2, 3, 24)
    pad = (kernel - 1) * dilation - (stride - 1)
    expected = F.conv1d(F.pad(x, (pad, 0)), layer.conv.weight, layer.conv.bias, stride, dilation=dilation)
    assert torch.equal(layer(x, {}), expected) and expected.shape[2] == 24 // stride


def test_growth_in_time_is_a_transposed_convolution_trimmed_on_the_right() -> None:
    torch.manual_seed(0)
    layer, x = GrowTime(3, 5, 4).double(), torch.randn(2, 3, 7, dtype=torch.float64)
    layer.conv.get_parameter("conv.bias").data.zero_()
    older, newer = layer.conv.conv.weight.view(5, 4, 3, 2).unbind(-1)  # an output sees its own input and the last one
    kernel = torch.cat([newer, older], 1).permute(2, 0, 1)
    expected = F.conv_transpose1d(x, kernel, stride=4)[..., :-4]
    torch.testing.assert_close(layer(x, {}), expected)


@pytest.mark.parametrize("overlap", [1, 3, 7, 8])
def test_windows_add_up_to_one_and_spectra_to_their_sound(overlap: int) -> None:
    """Spectra of the frames of a sound give back the sound, but for the fade at its beginning."""
    head, hop = SpectralHead(2, 8, overlap).double(), 8
    x = sounds(1, 5 * hop + overlap, seed=3)[:, 0].double()
    spectra = torch.fft.rfft(x.unfold(1, hop + overlap, hop), dim=2)
    drawn = torch.cat([spectra.abs().log(), spectra.angle()], 2)  # (1, 5, 2 bins)
    head.out = nn.Conv1d(drawn.shape[2], drawn.shape[2], 1).double()
    head.get_parameter("out.bias").data.zero_()
    head.out.weight.data.copy_(torch.eye(drawn.shape[2])[..., None])
    made = head(drawn.mT, {})
    assert made.shape == (1, 1, 5 * hop)
    torch.testing.assert_close(made[0, :, overlap:], x[:, overlap : 5 * hop])


@heads
def test_every_weight_is_trained_and_the_last_layer_is_the_last(head: str) -> None:
    torch.manual_seed(0)
    codec, x = SEANetCodec(BSQ(6), **SIZES | HEADS[head]), sounds(4, 24)
    optimizer = torch.optim.SGD(codec.parameters(), lr=0.1)
    for _ in range(2):  # the zero-initialised maps let gradients through from the second step on
        optimizer.zero_grad()
        reconstruction = codec(x)
        ((reconstruction.x - x).square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in codec.parameters())
    assert any(codec.last_layer is each for each in codec.head.parameters())
    with torch.no_grad():
        codec.last_layer.zero_()  # nothing of the tokens gets past it
        made = codec.eval()(x).x
    steady = made[..., HOP:].unfold(-1, HOP, HOP)
    torch.testing.assert_close(steady, steady[:1, :, :1].expand_as(steady))


@pytest.mark.parametrize("head", ["conv", "istft"])
def test_overfits_two_sounds(head: str) -> None:
    torch.manual_seed(0)
    codec, x = SEANetCodec(Gaussian(3), **SIZES | HEADS[head] | {"channels": 16, "width": 32}), sounds(2, 24) / 2
    optimizer = torch.optim.Adam(codec.parameters(), lr=5e-3)
    for _ in range(60):
        reconstruction = codec(x)
        optimizer.zero_grad()
        ((reconstruction.x - x).square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    made = codec.eval().decode(codec.encode(x))
    skip = HOP if head == "istft" else 0  # a spectrum begins at 0
    assert (made - x)[..., skip:].square().mean() < 0.15 * x.square().mean()


@pytest.mark.parametrize("head", ["conv", "istft"])
def test_a_run_and_its_export_load(head: str, tmp_path: Path) -> None:
    """Weights under weight norm are stored as lengths and directions, and found again."""
    codec, x = small(ResidualVQ(16, 4, levels=3), head), sounds(1, 26)
    quantizer = {
        "class_path": "mmgen.tokenizers.quantizers.ResidualVQ",
        "init_args": {"codes": 16, "dim": 4, "levels": 3},
    }
    options = SIZES | HEADS[head] | {"quantizer": quantizer, "ratios": [3, 2]}
    described = {"class_path": "mmgen.modalities.speech.tokenizers.codec.SEANetCodec", "init_args": options}
    module = {"class_path": "mmgen.training.TokenizerModule", "init_args": {"tokenizer": described}}
    run, exported = tmp_path / "run", tmp_path / "export"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": module}))
    weights = {f"tokenizer.{name}": value for name, value in codec.state_dict().items()}
    torch.save({"state_dict": weights, "global_step": 1}, run / "checkpoints" / "last.ckpt")
    save_export(run, exported)
    for path in (run, exported):
        loaded = load_tokenizer(path)
        assert isinstance(loaded, SEANetCodec) and weights_hash(loaded) == weights_hash(codec)
        tokens = loaded.encode(x)
        assert torch.equal(tokens.values, codec.encode(x).values)
        assert torch.equal(loaded.decode(tokens, 26), codec.decode(tokens, 26))


def test_training_resumes_and_a_copy_is_the_same() -> None:
    codec, x = small(ResidualVQ(16, 4, levels=3, dropout=0.5)).train(), sounds(3, 24)
    resumed = SEANetCodec(ResidualVQ(16, 4, levels=3, dropout=0.5), 600, 0.02, (3, 2), 4, 8, blocks=1).train()
    resumed.load_state_dict(codec.state_dict())  # no weight depends on the length
    for other in (resumed, copy.deepcopy(codec)):
        trained = copy.deepcopy(codec)
        for _ in range(2):
            assert torch.equal(trained(x).x, other(x).x)
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in trained.state_dict().items())


@heads
def test_bfloat16_autocast_and_weights(head: str) -> None:
    codec, x = small(head=head).train(), sounds(2, 26)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = codec(x)
        reconstruction.x.float().square().mean().backward()
        tokens = codec.encode(x)
        assert tokens.values.dtype == torch.float32
        coded = encoded(codec.streaming(), x.split(HOP, 2))
        stream = codec.streaming()
        heard = torch.cat([stream.decode(Tokens(part, (1, 1, 1))) for part in coded.split(1, 1)], 2)
    torch.testing.assert_close(heard.float(), codec.decode(tokens).float(), atol=0.1, rtol=0)
    if HEADS[head].get("head") == "istft":
        assert reconstruction.x.dtype == torch.float32  # a spectrum's phases are exact
    low = codec.bfloat16()
    assert low.decode(low.encode(x.bfloat16())).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": ()}, r"at least 0; got 600, 0.04, \(\), 4, 8, 1, 1"),
        ({"ratios": (3, 0)}, "ratios, channels and width must be at least 1"),
        ({"seconds": 0.0}, "seconds in samples"),
        ({"width": 0}, "width must be at least 1"),
        ({"blocks": -1}, "units, blocks and lookahead at least 0"),
        ({"front": "fft"}, "front must be conv or mel, .* got fft, conv, 1"),
        ({"head": "wavelet"}, "head conv or istft, .* got conv, wavelet, 1"),
        ({"head": "istft", "overlap": 1.5}, r"overlap lie in \(0, 1\]; got conv, istft, 1.5"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        SEANetCodec(Gaussian(3), **SIZES | changes)
    assert "\n" not in str(caught.value)


def test_samples_and_tokens_that_do_not_fit_are_named() -> None:
    codec = small()
    x = sounds(1, 24)
    for wrong, message in [
        (x[:, 0], r"expects float samples of shape \(batch, 1, samples\) in \[-1, 1\], got shape \(1, 24\)"),
        (x.expand(1, 2, -1), r"\(batch, 1, samples\) .* got shape \(1, 2, 24\)"),
        (x[..., :0], "clips of no samples"),
        (x[:0], "an empty batch"),
        (x * 9, "got values from"),
        ((x * 32767).short(), "got torch.int16"),
    ]:
        for use in (codec, codec.encode, codec.streaming().encode):
            with pytest.raises(UserError, match=message):
                use(wrong)
    tokens = codec.encode(x)
    for samples in (18, 25):
        with pytest.raises(UserError, match=f"4 latents are 19 to 24 samples to SEANetCodec, not {samples}"):
            codec.decode(tokens, samples)
    for grid in ((2, 2, 1), (0, 1, 1)):
        with pytest.raises(UserError, match=r"decodes a token grid of \(latents, 1, 1\), got"):
            codec.decode(Tokens(torch.zeros(1, math.prod(grid), 3), grid))

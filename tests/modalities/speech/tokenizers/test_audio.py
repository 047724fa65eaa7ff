"""SEANetCodec: its layers, what streams refuse, exports, mistakes; its contract is in tests/tokenizers/test_laws.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.tokenizers.codec import CodecStream, SEANetCodec
from mmgen.modalities.speech.tokenizers.seanet import GrowTime, SpectralHead
from mmgen.store.store import load_tokenizer, save_export, weights_hash
from mmgen.tokenizers.causal_conv import CausalConv, FrameBlock
from mmgen.tokenizers.quantizers import Gaussian, Quantizer, ResidualVQ

HOP = 6
HEADS: dict[str, dict[str, Any]] = {
    "conv": {},
    "units": {"units": 2, "blocks": 0},
    "istft": {"head": "istft"},
    "short overlap": {"head": "istft", "overlap": 0.3},
    "mel": {"front": "mel", "head": "istft"},
    "ahead": {"front": "mel", "head": "istft", "lookahead": 1},
    "far ahead": {"lookahead": 2},
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

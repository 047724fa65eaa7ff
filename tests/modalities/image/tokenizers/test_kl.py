"""KLImageTokenizer: the closed form of its loss, its noise, its scaling, and that it learns."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.conv import KLImageTokenizer


def images(batch: int, size: int = 16, channels: int = 1, seed: int = 0) -> Tensor:
    """Smooth random images that fill [-1, 1]."""
    coarse = torch.rand(batch, channels, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def small(**changes: Any) -> KLImageTokenizer:
    torch.manual_seed(0)
    return KLImageTokenizer(**({"image_size": 16, "width": 8, "downsample": 4, "latent_channels": 3} | changes))


def posterior(tokenizer: KLImageTokenizer, x: Tensor) -> Normal:
    mean, log_variance = tokenizer.encoder(x).chunk(2, dim=1)
    return Normal(mean, (log_variance / 2).exp())


@pytest.mark.parametrize(
    ("size", "channels", "downsample", "side"), [(28, 1, 4, 7), (30, 3, [3, 2], 5), (16, 2, 8, 2), (5, 1, [1], 5)]
)
def test_shapes_and_ranges(size: int, channels: int, downsample: int | list[int], side: int) -> None:
    tokenizer = small(image_size=size, channels=channels, downsample=downsample)
    x = images(3, size, channels)
    assert tokenizer.spec == TokenSpec("continuous", 3, (1, side, side), modality="image")
    assert tokenizer.sample_shape == x.shape[1:]
    tokens = tokenizer.encode(x)
    assert tokens.values.shape == (3, side * side, 3)
    assert tokens.values.dtype == torch.float32
    back = tokenizer.decode(tokens)
    assert back.shape == x.shape
    assert back.abs().max() <= 1
    assert tokenizer(x).x.shape == x.shape


def test_forward_is_decode_of_encode_and_neither_has_side_effects() -> None:
    tokenizer, x = small(), images(5, seed=1)
    for seed in range(3):
        tokenizer(images(8, seed=seed))
    before = copy.deepcopy(tokenizer.state_dict())
    tokens = tokenizer.encode(x)
    reconstruction = tokenizer.eval()(x)
    assert torch.equal(reconstruction.tokens.values, tokens.values)
    torch.testing.assert_close(tokenizer.decode(tokens), reconstruction.x.clamp(-1, 1))
    assert torch.equal(tokenizer.train().encode(x).values, tokens.values)  # deterministic, in either mode
    assert all(torch.equal(before[name], value) for name, value in tokenizer.state_dict().items())


def test_the_loss_is_the_divergence_from_a_standard_normal() -> None:
    tokenizer, x = small(kl_weight=0.25), images(4)
    q = posterior(tokenizer, x)
    expected = 0.25 * kl_divergence(q, Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(tokenizer(x).losses["kl"], expected)
    torch.testing.assert_close(tokenizer.eval()(x).losses["kl"], expected)


def test_training_decodes_samples_of_the_posterior() -> None:
    """Over many batches the decoder's inputs have the posterior's mean and deviation."""
    tokenizer, x = small().double(), images(2).double()
    seen: list[Tensor] = []
    tokenizer.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    with torch.no_grad():
        for _ in range(400):
            tokenizer(x)
        q, samples = posterior(tokenizer, x), torch.stack(seen)
    scores = (samples - q.mean) / q.stddev
    assert scores.mean(0).abs().max() < 5 / 400**0.5
    assert (scores.std(0) - 1).abs().max() < 0.2
    assert abs(scores.std().item() - 1) < 0.01
    assert scores.flatten(2).permute(2, 0, 1).flatten(1).corrcoef().fill_diagonal_(0).abs().max() < 0.2


def test_noise_differs_by_row_and_batch_and_a_resumed_run_goes_on_exactly() -> None:
    tokenizer, x = small(), images(1).expand(3, -1, -1, -1)
    first, second = tokenizer(x).x, tokenizer(x).x
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    resumed = small(width=8)
    resumed.load_state_dict(tokenizer.state_dict())
    torch.rand(7)  # the global generator plays no part
    assert torch.equal(resumed(x).x, tokenizer(x).x)
    assert torch.equal(resumed.quantizer.mean, tokenizer.quantizer.mean)


def test_tokens_have_zero_mean_and_unit_variance() -> None:
    tokenizer, x = small(), images(64)
    with torch.no_grad():
        tokenizer.encoder[-1].bias.copy_(torch.arange(6.0))  # far from what they shall be
        for _ in range(3):
            tokenizer(x)
        values = tokenizer.encode(x).values
        torch.testing.assert_close(values.mean((0, 1)), torch.zeros(3), atol=1e-3, rtol=0)
        torch.testing.assert_close(values.std((0, 1)), torch.ones(3), atol=1e-2, rtol=0)


def test_an_unused_channel_stays_finite() -> None:
    tokenizer, x = small(), images(4)
    with torch.no_grad():
        tokenizer.encoder[-1].weight.zero_()
        tokenizer(x)
    assert tokenizer.encode(x).values.abs().max() < 1e-3
    assert tokenizer.decode(tokenizer.encode(x)).isfinite().all()


def test_overfits_eight_images() -> None:
    tokenizer, x = small().train(), images(8)
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=1e-2)
    for _ in range(150):
        reconstruction = tokenizer(x)
        optimizer.zero_grad()
        ((reconstruction.x - x).square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    held = tokenizer.eval().decode(tokenizer.encode(x))
    assert 10 * torch.log10(4 / (held - x).square().mean()) > 22


def test_every_weight_is_trained() -> None:
    tokenizer, x = small(), images(4)
    optimizer = torch.optim.SGD(tokenizer.parameters(), lr=0.1)
    for _ in range(2):  # the zero-initialised convolutions let gradients through from the second step on
        optimizer.zero_grad()
        reconstruction = tokenizer(x)
        (reconstruction.x.square().mean() + sum(reconstruction.losses.values())).backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in tokenizer.parameters())


@torch.no_grad()
def test_the_output_is_affine_in_the_last_layer() -> None:
    tokenizer, x = small().eval(), images(4)
    outputs = []
    for factor in (1, 3, 0):
        changed = copy.deepcopy(tokenizer)
        changed.last_layer.mul_(factor)
        outputs.append(changed(x).x)
    once, thrice, bias = outputs
    assert (once - bias).abs().max() > 0.1
    torch.testing.assert_close(thrice - bias, 3 * (once - bias))


def test_bfloat16_autocast_and_weights() -> None:
    tokenizer, x = small(), images(4)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = tokenizer(x)
        reconstruction.x.float().square().mean().backward()
        assert tokenizer.encode(x).values.dtype == torch.float32
    assert reconstruction.losses["kl"].dtype == torch.float32
    low = tokenizer.bfloat16()
    assert low.decode(low.encode(x.bfloat16())).dtype == torch.bfloat16


def test_mistakes_are_named() -> None:
    for options, message in [
        ({"image_size": 30}, "image_size 30 is not divisible by the downsampling 4"),
        ({"latent_channels": 0}, "at least 1 number a token"),
        ({"kl_weight": -1.0}, "kl_weight >= 0"),
    ]:
        with pytest.raises(UserError, match=message):
            small(**options)
    tokenizer = small()
    with pytest.raises(UserError, match=r"expects float samples of shape \(batch, 1, 16, 16\)"):
        tokenizer.encode(images(1, 20))
    for values, message in [
        (torch.zeros(1, 16), r"tokens of shape \(batch, 16, 3\), got \(1, 16\)"),
        (torch.zeros(1, 16, 4), r"got \(1, 16, 4\)"),
        (torch.zeros(1, 16, 3, dtype=torch.int64), "finite floats, got torch.int64"),
        (torch.full((1, 16, 3), float("nan")), "finite floats, got NaN or infinity"),
    ]:
        with pytest.raises(UserError, match=message):
            tokenizer.decode(Tokens(values, (1, 4, 4)))
    with torch.no_grad():
        tokenizer.encoder[-1].bias.fill_(float("nan"))
    for use in (tokenizer, tokenizer.encode):
        with pytest.raises(UserError, match="the encoder has diverged"):
            use(images(1))

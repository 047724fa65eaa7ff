"""Distances between spectra: zero for the same, larger for worse, of any length, and what the papers' formulas give."""

import math

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.tokenizers.losses import Spectral
from mmgen.tokenizers.quantizers import BSQ
from mmgen.training import TokenizerModule
from tests.training.sounds import tiny

SMALL = {"windows": (256, 64), "mels": (20, 8), "resolutions": ((128, 25, 100), (64, 10, 50))}
BOTH = Spectral(stft=1.0, **SMALL)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def sounds(rows=2, samples=1600, dtype=torch.float32):
    """Tones of other pitches, with a little noise and a silent end."""
    time, pitch = torch.arange(samples, dtype=dtype) / 16000, 200.0 * torch.arange(1, rows + 1, dtype=dtype)[:, None]
    x = 0.3 * (2 * math.pi * pitch * time).sin() + 0.01 * noise(rows, samples, seed=1, dtype=dtype)
    x[:, samples * 3 // 4 :] = 0
    return x[:, None]


def by_hand(size, hop, window, x):
    """x (T,) float64 -> magnitudes (frames, bins) by the sum that defines them: no library's transform."""
    count, half = 1 + len(x) // hop, size // 2
    padded = torch.cat([torch.zeros(half), x, torch.zeros(half)])
    hann = torch.zeros(size, dtype=torch.float64)
    start = (size - window) // 2
    hann[start : start + window] = 0.5 - 0.5 * torch.cos(
        2 * math.pi * torch.arange(window, dtype=torch.float64) / window
    )
    turns = torch.outer(torch.arange(half + 1), torch.arange(size)) / size
    waves = torch.exp(-2j * math.pi * turns.double())
    frames = torch.stack([padded[n * hop : n * hop + size] * hann for n in range(count)])
    return (frames.to(waves.dtype) @ waves.T).abs(), hann.square().sum().sqrt() * math.sqrt(math.pi) / 2


def mel_filters(size, bands):
    """(bins, bands): triangles between equally spaced points of the mel scale, 2595 log10(1 + f / 700)."""
    top = 2595 * math.log10(1 + 8000 / 700)
    points = [700 * (10 ** (top * n / (bands + 1) / 2595) - 1) for n in range(bands + 2)]
    filters = torch.zeros(size // 2 + 1, bands, dtype=torch.float64)
    for bin in range(size // 2 + 1):
        f = bin * 16000 / size
        for band, (low, middle, high) in enumerate(zip(points, points[1:], points[2:])):
            filters[bin, band] = max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle)))
    return filters


def test_equal_sounds_are_at_no_distance_and_noise_leads_away():
    x, wind = sounds(), noise(2, 1, 1600)
    for name in ("mel", "stft"):
        distances = [BOTH(x + amount * wind, x)[name].item() for amount in (0.0, 1e-3, 1e-2, 0.1, 0.5)]
        assert distances[0] == 0
        assert distances == sorted(set(distances))


def test_the_mel_loss_is_its_formula():
    """Levels of spectra summed by hand through triangles made by hand: mean |log10 a - log10 b| and the linear part."""
    x = sounds(dtype=torch.float64)
    made = 0.7 * x + 0.05 * noise(*x.shape, dtype=torch.float64)
    wanted = []
    for window, bands in zip(SMALL["windows"], SMALL["mels"]):
        filters = mel_filters(window, bands)
        for ours, theirs in zip(made[:, 0], x[:, 0]):
            (a, unit), (b, _) = (by_hand(window, window // 4, window, each) for each in (ours, theirs))
            a, b = (each @ filters / (unit * filters.sum(0)) for each in (a, b))
            logs = ((a + 1e-4).log10() - (b + 1e-4).log10()).abs().mean()
            wanted.append(logs + 0.3 * (a - b).abs().mean() / b.mean())
    loss = Spectral(linear=0.3, **SMALL)(made, x)["mel"]
    torch.testing.assert_close(loss, torch.stack(wanted).mean(), rtol=1e-5, atol=0)  # filters are made in float32


def test_the_stft_loss_is_its_formula():
    x = sounds(dtype=torch.float64)
    made = 0.7 * x + 0.05 * noise(*x.shape, dtype=torch.float64)
    wanted = []
    for size, hop, window in SMALL["resolutions"]:
        for ours, theirs in zip(made[:, 0], x[:, 0]):
            (a, unit), (b, _) = (by_hand(size, hop, window, each) for each in (ours, theirs))
            a, b = a / unit, b / unit
            wanted.append((a - b).norm() / b.norm() + ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean())
    torch.testing.assert_close(BOTH(made, x)["stft"], torch.stack(wanted).mean(), rtol=1e-9, atol=0)


def test_a_change_of_volume_is_the_same_at_every_pitch_and_resolution():
    """Far above the floor, half the volume is log10 2 in every band, plus half of the linear part."""
    x = 10 * noise(1, 1, 4000)
    assert Spectral(linear=0.2)(x / 2, x)["mel"].item() == pytest.approx(math.log10(2) + 0.1, rel=1e-3)
    stft = Spectral(mel=0, stft=1.0)(x / 2, x)["stft"].item()
    assert stft == pytest.approx(0.5 + math.log(2), rel=1e-3)


def test_a_level_of_one_is_white_noise_of_unit_power():
    """So the floor means the same at every resolution: one of -20 dB is a tenth of such noise's mean level."""
    wind = noise(1, 1, 200_000)
    for window, bands in ((1024, 4), (128, 4)):
        loss = Spectral(linear=0, windows=(window,), mels=(bands,), floor_db=-20)(0 * wind, wind)["mel"].item()
        assert loss == pytest.approx(math.log10(11), rel=2e-2)


@pytest.mark.parametrize("name", ["mel", "stft"])
def test_gradients_are_finite_at_digital_silence(name):
    silence, x = torch.zeros(1, 1, 1600), sounds(1)
    for made, target in ((silence, silence), (silence, x), (x, silence), (x, x), (1e-30 * x, x)):
        made = made.clone().requires_grad_()
        loss = BOTH(made, target)[name]
        (gradient,) = torch.autograd.grad(loss, made)
        assert loss.isfinite() and gradient.isfinite().all()


def test_what_is_too_quiet_is_pulled_up():
    """Also below the floor, where a clamp would have no gradient."""
    x = sounds(1)
    made = (1e-6 * x).requires_grad_()
    (gradient,) = torch.autograd.grad(BOTH(made, x)["mel"], made)
    assert (gradient * x).sum() < 0


def test_a_silent_clip_does_not_drown_the_others():
    """Faint noise in its place costs no more than the same noise does in a pause of speech."""
    hiss = 1e-2 * noise(1, 1, 1600)
    for name in ("mel", "stft"):
        silent = BOTH(hiss, torch.zeros_like(hiss))[name].item()
        assert silent < BOTH(sounds(1) * 0, sounds(1))[name].item() * 2


def test_a_clip_is_measured_by_itself():
    """As the mean over clips, whatever is beside them: batches and ranks may divide them as they like."""
    x = sounds(4, dtype=torch.float64) * torch.tensor([1.0, 0.1, 0.01, 0.0]).view(-1, 1, 1)
    made = x + 0.01 * noise(*x.shape, dtype=torch.float64)
    for name, loss in BOTH(made, x).items():
        alone = [BOTH(one, other)[name] for one, other in zip(made.split(1), x.split(1))]
        torch.testing.assert_close(loss, torch.stack(alone).mean(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("samples", [1, 7, 100, 2047])
def test_a_clip_may_be_shorter_than_a_window(samples):
    loss, x = Spectral(stft=1.0), noise(1, 1, samples)
    assert all(each.item() == 0 for each in loss(x, x).values())
    assert all(each > 0 for each in loss(x * 0.5, x).values())


def test_sixteen_bits_and_autocast_are_measured_in_32():
    x = sounds()
    made = (x * 0.9).bfloat16()
    wanted = BOTH(made.float(), x)
    with torch.autocast("cpu", torch.bfloat16):
        for name, loss in BOTH(made, x).items():
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, wanted[name])


def test_weights_weigh_and_what_has_none_is_left_out():
    x = sounds()
    made, double = x * 0.5, Spectral(mel=2.0, stft=3.0, **SMALL)
    for name, weight in (("mel", 2.0), ("stft", 3.0)):
        torch.testing.assert_close(double(made, x)[name], weight * BOTH(made, x)[name])
    assert Spectral(**SMALL)(made, x).keys() == {"mel"}
    assert Spectral(mel=0, stft=1.0, **SMALL)(made, x).keys() == {"stft"}


def test_a_module_keeps_no_spectrum():
    plain, with_it = (TokenizerModule(tiny(), spectral=each) for each in (None, BOTH))
    assert plain.state_dict().keys() == with_it.state_dict().keys()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Spectral(mel=-1), "at least 0"),
        (lambda: Spectral(mel=0), "mel or stft above it"),
        (lambda: Spectral(windows=(256,)), "a number of mels each"),
        (lambda: Spectral(windows=(), mels=()), "a number of mels each"),
        (lambda: Spectral(windows=(2,), mels=(1,)), "at least 4 samples"),
        (lambda: Spectral(windows=(128,), mels=(80,)), "window 128 cannot tell 80 mel bands apart at 16000 Hz"),
        (lambda: Spectral(stft=1, resolutions=((64, 10, 128),)), "hop <= window <= transform"),
        (lambda: BOTH(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)), r"got \(2, 1, 8, 8\)"),
        (lambda: BOTH(torch.zeros(2, 2, 80), torch.zeros(2, 2, 80)), r"got \(2, 2, 80\)"),
        (lambda: BOTH(torch.zeros(2, 1, 80), torch.zeros(2, 1, 81)), r"got \(2, 1, 80\) and \(2, 1, 81\)"),
        (lambda: TokenizerModule(ConvImageTokenizer(BSQ(4), 8, width=8), spectral=BOTH), "are of sounds"),
        (lambda: TokenizerModule(tiny(), spectral=Spectral(sample_rate=24000)), "set spectral.sample_rate"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(UserError, match=told) as error:
        make()
    assert "\n" not in str(error.value)

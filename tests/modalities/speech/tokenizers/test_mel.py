"""MelTokenizer: what it codes, what it is trained on, and how tokens line up with sound."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.log_mel import LogMel
from mmgen.modalities.speech.tokenizers.mel import MelTokenizer
from mmgen.modalities.speech.tokenizers.vocoder import GriffinLim, Vocoder
from mmgen.store.rebuild import build_tokenizer
from mmgen.tokenizers.quantizers import BSQ, FSQ, VQ, Gaussian, Quantizer, ResidualVQ
from mmgen.training import TokenizerModule
from tests.modalities.speech.tokenizers.test_vocoder import vowels

SIZES: dict[str, Any] = {
    "sample_rate": 8000, "seconds": 0.1, "n_fft": 256, "hop": 64, "bins": 24, "width": 16, "blocks": 1,
}  # fmt: skip
QUANTIZERS: dict[str, Callable[[], Quantizer]] = {
    "residual": lambda: ResidualVQ(16, dim=4, levels=3),
    "vq": lambda: VQ(16, dim=4),
    "bits": lambda: BSQ(5),
    "fsq": lambda: FSQ([4, 3]),
    "continuous": lambda: Gaussian(3),
}


def tokenizer(quantizer: str = "residual", **changes: Any) -> MelTokenizer:
    torch.manual_seed(0)
    made = MelTokenizer(QUANTIZERS[quantizer](), vocoder=GriffinLim(2), **(SIZES | changes))
    for name, parameter in made.named_parameters():  # blocks are the identity at first, and would hide their context
        if "mlp" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    made.train()(vowels())  # fills codebooks
    return made.eval()


def test_training_compares_spectrograms_and_never_hears() -> None:
    class Mute(Vocoder):
        def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
            raise AssertionError("the vocoder has no part in training")

    made = MelTokenizer(ResidualVQ(16, dim=4, levels=2), vocoder=Mute(), **SIZES).train()
    x = vowels()
    result = made(x)
    assert result.target is not None
    assert torch.equal(result.target, made.spectrogram(x))
    assert result.x.shape == result.target.shape == (2, 24, 64)
    assert not result.target.requires_grad
    ((result.x - result.target).abs().mean() + sum(result.losses.values())).backward()
    untouched = {name for name, each in made.named_parameters() if each.grad is None or not each.grad.isfinite().all()}
    assert not untouched
    assert made.last_layer.grad is not None and made.last_layer.grad.abs().sum() > 0


def test_the_training_module_takes_the_target() -> None:
    module = TokenizerModule(tokenizer(pool=4), l1=1.0, l2=0.0)
    x = vowels()[..., :700]
    errors, *_ = module._losses(x)
    result = module.tokenizer(x)
    assert result.target is not None
    torch.testing.assert_close(errors["l1"], (result.x - result.target).abs().mean())


def test_sound_inverts_the_spectrogram() -> None:
    made = tokenizer(bins=32).train(False)
    made.vocoder = GriffinLim(32)
    x = vowels()[..., : 64 * 60]
    spectrogram = made.spectrogram(x)
    assert spectrogram.min() >= -1 and 0 < spectrogram.max() < 1.5
    assert (made.spectrogram(torch.zeros(1, 1, 64)) == -1).all()
    again = made.spectrogram(made.sound(spectrogram))
    assert (again - spectrogram).abs()[spectrogram > -0.5].mean() < 0.05  # of 2, from the floor to full scale


def test_decode_hears_what_the_decoder_drew() -> None:
    """A vocoder that gives back each frame's loudest band makes the way from tokens to samples visible."""

    class Loudest(Vocoder):
        def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
            return (levels.argmax(1).float() / mel.bins).repeat_interleave(mel.hop, dim=1)[:, None]

    made = tokenizer()
    made.vocoder = Loudest()
    x = vowels()[..., :1000]
    drawn = made(x).x
    expected = (drawn.argmax(1) / 24).repeat_interleave(64, dim=1)[:, None, :1000]
    torch.testing.assert_close(made.decode(made.encode(x), 1000), expected)


@pytest.mark.parametrize("pool", [1, 2])
def test_causal_or_not(pool: int) -> None:
    """Where a later sample changes, earlier tokens and drawn frames stay only if causal, up to the window's half."""
    x = vowels()[..., : 64 * 40]
    other = x.clone()
    other[..., 64 * 24 :] *= -0.3
    for causal in (True, False):
        made = tokenizer("continuous", pool=pool, causal=causal)
        same = (made.encode(x).values == made.encode(other).values).all(-1).all(0)
        first = int((~same).nonzero()[0]) * pool  # frame
        looks_ahead = -(-((256 - 64) // 2) // 64)
        assert first >= 24 - looks_ahead - (pool - 1) if causal else first < 24 - looks_ahead - pool

        values = made.encode(x).values
        changed = values.clone()
        changed[:, 10:] += 1
        drawn, redrawn = (made._drawn(each[:, :, None, None]) for each in (values, changed))
        moved = ((drawn - redrawn).abs().amax((0, 1)) > 1e-6).nonzero()[0].item()
        assert moved == 10 * pool if causal else moved < 10 * pool


def test_it_is_rebuilt_from_a_config_with_its_vocoder() -> None:
    config = {
        "tokenizer": {
            "class_path": "mmgen.modalities.speech.tokenizers.mel.MelTokenizer",
            "init_args": SIZES
            | {
                "quantizer": {"class_path": "mmgen.tokenizers.quantizers.Gaussian", "init_args": {"dim": 3}},
                "vocoder": {
                    "class_path": "mmgen.modalities.speech.tokenizers.vocoder.GriffinLim",
                    "init_args": {"steps": 2},
                },
            },
        }
    }
    rebuilt, made = build_tokenizer(config, "config.yaml"), tokenizer("continuous")
    rebuilt.load_state_dict(made.state_dict())
    x = vowels()
    assert torch.equal(rebuilt.eval().decode(rebuilt.encode(x)), made.decode(made.encode(x)))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"pool": 0}, "pool and width must be at least 1"),
        ({"seconds": 0.0}, "seconds in samples"),
        ({"hop": 300}, "1 <= hop <= n_fft"),
    ],
)
def test_wrong_sizes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tokenizer(**sizes)

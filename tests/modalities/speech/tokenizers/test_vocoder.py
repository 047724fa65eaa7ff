"""LogMel against torchaudio, and vocoders by the spectrogram, the place and the length of what they make."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchaudio
import yaml
from safetensors.torch import save_file
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.log_mel import LogMel
from mmgen.modalities.speech.tokenizers.vocoder import GriffinLim, Vocos

MEL = LogMel(sample_rate=8000, n_fft=256, hop=64, bins=32)
MELS = [MEL, LogMel(8000, 250, 77, 20, 1e-3, "htk"), LogMel(16000, 512, 160, 80), LogMel(8000, 64, 64, 8)]


def vowels(seconds: float = 0.5, rate: int = 8000, batch: int = 2) -> Tensor:
    """(batch, 1, T): harmonics of a gliding pitch under a few formants, between silences."""
    t = torch.arange(round(seconds * rate)) / rate
    rows = []
    for row in range(batch):
        pitch = 110 + 30 * row + 20 * torch.sin(2 * math.pi * 2 * t)
        phase = 2 * math.pi * pitch.cumsum(0) / rate
        loud = [math.exp(-(((150 * k - 700 - 200 * row) / 600) ** 2)) + 0.05 for k in range(1, 20)]
        tone = sum(a * torch.sin(k * phase) for k, a in enumerate(loud, 1))
        rows.append(tone * torch.sin(math.pi * t / seconds).square())
    x = torch.stack(rows)[:, None]
    return x / x.abs().max() * 0.7


@pytest.mark.parametrize("mel", MELS)
@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1000])
def test_levels_are_torchaudios_a_frame_in_the_middle_of_its_samples(mel: LogMel, samples: int) -> None:
    x = torch.rand(2, 1, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    frames = -(-samples // mel.hop)
    before = (mel.n_fft - mel.hop) // 2
    padded = F.pad(x[:, 0], (before, frames * mel.hop - samples + mel.n_fft - mel.hop - before))
    theirs = torchaudio.transforms.MelSpectrogram(
        mel.sample_rate, mel.n_fft, hop_length=mel.hop, n_mels=mel.bins, power=1.0, center=False,
        norm="slaney" if mel.scale == "slaney" else None, mel_scale=mel.scale,
    )(padded)  # fmt: skip
    levels = mel(x)
    assert levels.shape == (2, mel.bins, frames)
    torch.testing.assert_close(levels, theirs.clamp_min(mel.floor).log(), rtol=1e-4, atol=1e-4)


def test_levels_stand_between_the_floor_and_a_full_scale_tone() -> None:
    silence = MEL(torch.zeros(1, 1, 640))
    assert (silence == math.log(MEL.floor)).all()
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(4000) / 8000)[None, None]
    assert abs(MEL(tone).max().item()) < 1  # a magnitude within a factor e of 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(MEL(tone), MEL(tone.double().float()))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"hop": 257}, "1 <= hop <= n_fft"),
        ({"bins": 0}, "bins >= 1"),
        ({"floor": 0.0}, "floor in"),
        ({"bins": 200}, "cannot tell 200 mel bands apart at 8000 Hz"),
        ({"scale": "bark"}, "slaney or htk, got bark"),
    ],
)
def test_spectrograms_that_cannot_be(sizes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"sample_rate": 8000, "n_fft": 256, "hop": 64, "bins": 32} | sizes
    with pytest.raises(UserError, match=message):
        LogMel(**arguments)


def error(mel: LogMel, x: Tensor, steps: int) -> float:
    """Mean difference of spectral levels, in nats, where something is heard."""
    made, levels = GriffinLim(steps)(mel(x), mel), mel(x)
    heard = levels > math.log(1e-3)
    return (mel(made) - levels).abs()[heard].mean().item()


def test_griffin_lim_sounds_as_the_spectrogram_says_and_better_with_more_steps() -> None:
    x = vowels()
    few, many = error(MEL, x, 1), error(MEL, x, 32)
    assert many < 0.2  # 1.7 dB
    assert many < 0.7 * few


@pytest.mark.parametrize("mel", MELS[:3])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_griffin_lim_gives_a_hop_for_each_frame(mel: LogMel, frames: int) -> None:
    levels = mel(vowels(1.0, mel.sample_rate)[..., : frames * mel.hop])
    made = GriffinLim(2)(levels, mel)
    assert made.shape == (2, 1, frames * mel.hop)
    assert made.isfinite().all()
    assert torch.equal(made, GriffinLim(2)(levels, mel))  # no chance in it


def test_a_click_stays_where_it_was_and_silence_is_silent() -> None:
    x = torch.zeros(2, 1, 64 * 30)
    x[0, 0, 64 * 11 + 32] = 1.0
    made = GriffinLim(16)(MEL(x), MEL)
    assert abs(made[0, 0].abs().argmax().item() - (64 * 11 + 32)) < 64
    assert made[0, 0, : 64 * 6].abs().max() < 1e-3
    assert (made[1] == 0).all()


def test_rows_do_not_touch_each_other_or_the_global_generator() -> None:
    levels = MEL(vowels())
    before = torch.get_rng_state()
    together = GriffinLim(8)(levels, MEL)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(together[1:], GriffinLim(8)(levels[1:], MEL), rtol=1e-3, atol=1e-4)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(UserError, match="steps >= 1"):
        GriffinLim(0)
    with pytest.raises(UserError, match="momentum in"):
        GriffinLim(4, momentum=1.0)


VOCOS_MEL = LogMel(8000, 256, 64, 20, 1e-7, "htk")


def vocos_folder(path: Path, padding: str = "center", **changes: Any) -> Path:
    """A tiny Vocos of random weights, as its authors lay it out."""
    models = pytest.importorskip("vocos.pretrained")
    features = {"sample_rate": 8000, "n_fft": 256, "hop_length": 64, "n_mels": 20, "padding": padding}
    backbone = {"input_channels": 20, "dim": 8, "intermediate_dim": 16, "num_layers": 1}
    config = {
        "feature_extractor": {
            "class_path": "vocos.feature_extractors.MelSpectrogramFeatures", "init_args": features,
        },
        "backbone": {"class_path": "vocos.models.VocosBackbone", "init_args": backbone},
        "head": {
            "class_path": "vocos.heads.ISTFTHead",
            "init_args": {"dim": 8, "n_fft": 256, "hop_length": 64, "padding": padding},
        },
    }  # fmt: skip
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(0)
    torch.save(models.Vocos.from_hparams(path / "config.yaml").state_dict(), path / "pytorch_model.bin")
    (path / "config.yaml").write_text(yaml.safe_dump(config | changes))
    return path


@pytest.mark.parametrize("padding", ["center", "same"])
def test_vocos_is_the_packages_own(tmp_path: Path, padding: str) -> None:
    folder = vocos_folder(tmp_path, padding)
    package = sys.modules["vocos.pretrained"].Vocos.from_hparams(folder / "config.yaml")
    package.load_state_dict(torch.load(folder / "pytorch_model.bin"))
    x = vowels()[..., : 64 * 60]
    levels = VOCOS_MEL(x)
    vocoder = Vocos(str(folder))
    vocoder.check(VOCOS_MEL)
    made = vocoder(levels, VOCOS_MEL)
    assert made.shape == x.shape
    if padding == "same":
        expected = package.eval().decode(levels)[:, None]
        torch.testing.assert_close(package.feature_extractor(x[:, 0])[..., 2:-2], levels[..., 2:-2])  # one spectrogram
    else:  # its frames stand half a hop earlier
        beyond = torch.cat([levels[..., :1], levels, levels[..., -1:]], dim=2)
        expected = package.eval().decode(beyond)[:, None, 32:-32]
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    assert not list(vocoder.parameters()) and not vocoder.state_dict()
    torch.testing.assert_close(vocoder.half()(levels, VOCOS_MEL), made)  # it stays in float32


def test_vocos_reads_safetensors(tmp_path: Path) -> None:
    folder = vocos_folder(tmp_path)
    levels = VOCOS_MEL(vowels())
    expected = Vocos(str(folder))(levels, VOCOS_MEL)
    save_file(torch.load(folder / "pytorch_model.bin"), folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()
    torch.testing.assert_close(Vocos(str(folder))(levels, VOCOS_MEL), expected)


def test_a_folder_that_is_no_vocos_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = vocos_folder(tmp_path / "good")
    with pytest.raises(UserError, match=r"takes mel spectrograms .* not \(8000, 256, 64, 32, 'slaney'\)"):
        Vocos(str(folder)).check(MEL)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Vocos(str(tmp_path / "none"))
    other = {"class_path": "os.system", "init_args": {}}
    with pytest.raises(UserError, match="backbone system is not one that mmgen reads"):
        Vocos(str(vocos_folder(tmp_path / "other", backbone=other)))
    (folder / "pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"pytorch_model\.bin is corrupt"):
        Vocos(str(folder))
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match="holds no weights of Vocos"):
        Vocos(str(folder))
    monkeypatch.setitem(sys.modules, "vocos", None)
    with pytest.raises(UserError, match="pip install vocos"):
        Vocos(str(folder))

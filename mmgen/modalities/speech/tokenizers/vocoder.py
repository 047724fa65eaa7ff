"""From mel spectrograms back to sound."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.yaml_text import read_yaml
from mmgen.media.log_mel import LogMel, inverse_filters
from mmgen.media.torch_file import read_weights
from mmgen.tokenizers.pretrained import one_line


class Vocoder(nn.Module, ABC):
    """Makes sound of a mel spectrogram. Deterministic, not trained, and each row by itself."""

    def check(self, mel: LogMel) -> None:
        """Raises UserError unless it makes sound of such spectrograms."""
        return None

    @abstractmethod
    def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
        """levels (B, bins, F), natural logarithms as `mel` gives them -> sound (B, 1, F hop) float32, not clamped."""


class GriffinLim(Vocoder):
    """Phases by the fast Griffin-Lim algorithm (Perraudin et al. 2013), magnitudes by the pseudo-inverse of the mel
    bands, where it is not negative. Not trained, so of any sound at any sample rate.

    Args:
        steps: of the algorithm, each of them a Fourier transform of the sound there and back.
        momentum: in [0, 1); 0 is the algorithm of Griffin and Lim 1984.

    Raises:
        UserError: no steps, or a momentum outside [0, 1).
    """

    def __init__(self, steps: int = 32, momentum: float = 0.99) -> None:
        super().__init__()
        if steps < 1 or not 0 <= momentum < 1:
            raise UserError(f"GriffinLim needs steps >= 1 and a momentum in [0, 1); got {steps} and {momentum:g}")
        self.steps, self.momentum = steps, momentum

    @torch.no_grad()
    def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
        from torchaudio.functional import griffinlim  # slow to import

        with torch.autocast(levels.device.type, enabled=False):
            bands = (levels.float().exp() - mel.floor).clamp_min(0)  # what lies at the floor was silence
            silent = mel.n_fft // (2 * mel.hop) + 1  # frames: no window of the ends reaches beyond them
            bands = F.pad(_beyond(bands), (silent, silent))
            magnitudes = (inverse_filters(mel, bands.device) @ bands).clamp_min(0)
            options = {"power": 1.0, "n_iter": self.steps, "momentum": self.momentum, "length": None}
            window, sizes = mel.window(magnitudes), (mel.n_fft, mel.hop, mel.n_fft)
            sound = griffinlim(magnitudes, window, *sizes, **options, rand_init=False)
        return _within(sound[:, silent * mel.hop :][:, : -silent * mel.hop], mel.hop)


class Vocos(Vocoder):
    """A trained vocoder of the `vocos` package (Siuzdak 2023), from a local folder.

    Its weights are no part of the tokenizer's: an export names the folder.

    Args:
        folder: holds config.yaml, and model.safetensors or pytorch_model.bin, of which nothing but tensors is read.

    Raises:
        UserError: the package is not installed, a file is missing or corrupt, or the model takes no mel spectrograms.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self._held = (_open_vocos(Path(folder)),)  # in a tuple, which keeps it out of the tokenizer's state

    def check(self, mel: LogMel) -> None:
        features = self._held[0].feature_extractor.mel_spec
        own = (features.sample_rate, features.n_fft, features.hop_length, features.n_mels, "htk")
        wanted = (mel.sample_rate, mel.n_fft, mel.hop, mel.bins, mel.scale)
        if own != wanted:
            raise UserError(
                f"the vocoder {self.folder} takes mel spectrograms of sample_rate, n_fft, hop, bins and scale {own},"
                f" not {wanted}"
            )

    @torch.no_grad()
    def forward(self, levels: Tensor, mel: LogMel) -> Tensor:
        model, levels = self._held[0], levels.float()
        with torch.autocast(levels.device.type, enabled=False):
            if model.head.istft.padding == "same":
                return model.head(model.backbone(levels)).unsqueeze(1)
            return _within(model.head(model.backbone(_beyond(levels))), mel.hop)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for tensor in self._held[0].state_dict().values():
            if tensor.is_floating_point():  # moves to the device with the rest, and stays in float32
                tensor.data = tensor.data.to(fn(tensor[..., :0]).device)
        return super()._apply(fn, recurse)


def _beyond(frames: Tensor) -> Tensor:
    """(B, C, F) -> (B, C, F + 2), the first and the last frame twice: frames stand in the middle of their samples, and
    transforms that begin and end with the middle of a frame need one on either side.
    """
    return F.pad(frames, (1, 1), mode="replicate")


def _within(sound: Tensor, hop: int) -> Tensor:
    """The sound (B, (F + 1) hop) from the middle of one frame before to that of one after -> (B, 1, F hop)."""
    frames = sound.shape[1] // hop - 1
    return sound[:, None, hop - hop // 2 :][..., : frames * hop]


_PARTS = {
    "feature_extractor": ("feature_extractors", ["MelSpectrogramFeatures"]),
    "backbone": ("models", ["VocosBackbone", "VocosResNetBackbone"]),
    "head": ("heads", ["ISTFTHead"]),
}


def _open_vocos(folder: Path) -> Any:
    try:
        modules = {part: import_module(f"vocos.{module}") for part, (module, _) in _PARTS.items()}
        package = import_module("vocos")
    except ImportError:
        raise UserError("the vocoder Vocos needs a package that is not installed: pip install vocos") from None
    config = folder / "config.yaml"
    try:
        plain = read_yaml(config)
        named = {part: str(plain[part]["class_path"]).rsplit(".", 1)[-1] for part in _PARTS}
        for part, (_, known) in _PARTS.items():
            if named[part] not in known:
                raise UserError(f"{config}: {part} {named[part]} is not one that mmgen reads, {' or '.join(known)}")
        parts = {part: getattr(modules[part], name)(**plain[part].get("init_args", {})) for part, name in named.items()}
    except UserError:
        raise
    except Exception as error:  # a config from anywhere: what its values break is open-ended
        raise UserError(f"{config} is missing, or no config of Vocos ({one_line(error)})") from None
    model = package.Vocos(**parts)
    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()]
    if not files:
        raise UserError(f"{folder} holds no weights of Vocos, model.safetensors or pytorch_model.bin")
    try:
        model.load_state_dict(_tensors(files[0]))
    except Exception as error:  # damaged files, and weights that do not fit: open-ended
        raise UserError(f"{files[0]} is corrupt, or not of the model in {config.name} ({one_line(error)})") from None
    return model.eval().requires_grad_(False)


def _tensors(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    return read_weights(file)

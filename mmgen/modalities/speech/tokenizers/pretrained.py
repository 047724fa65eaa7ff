"""Neural codecs of transformers as tokenizers, straight from the folder that `save_pretrained` wrote."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.tokenizers.base import Reconstruction

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class _Kind:
    """What mmgen has to know of a codec of transformers.

    Args:
        model: class of the model.
        config: class of its configuration.
        levels: attribute of the configuration with the number of codebooks.
        least: attribute with the number of codebooks that it cannot do without; None for one.
    """

    model: str
    config: str
    levels: str
    least: str | None = None


KINDS = {
    "encodec": _Kind("EncodecModel", "EncodecConfig", "num_quantizers"),
    "dac": _Kind("DacModel", "DacConfig", "n_codebooks"),
    "mimi": _Kind("MimiModel", "MimiConfig", "num_quantizers", "num_semantic_quantizers"),
}


class TransformersCodec(AudioTokenizer):
    """A frozen codec of transformers: EnCodec (Defossez et al. 2022), DAC (Kumar et al. 2023) or Mimi (Defossez et al.
    2024), of one channel. Tokens are its residual codes.

    Args:
        architecture: the content of the model's config.json; `model_type` is encodec, dac or mimi.
        levels: codebooks to use, the coarsest first; by default all that the model has.
        seconds: of the sounds that `spec.grid` is about; it codes any length.

    Raises:
        UserError: another model type, more levels than it has, sound of several channels or in overlapping chunks, or
            an architecture that transformers does not build.
    """

    def __init__(self, architecture: dict[str, Any], levels: int | None = None, seconds: float = 1.0) -> None:
        super().__init__()
        self.architecture = architecture
        self.kind = str(architecture.get("model_type"))
        if self.kind not in KINDS:
            raise UserError(f"a model of type {self.kind} is no codec that mmgen reads: {', '.join(KINDS)}")
        kind = KINDS[self.kind]
        self.model = _build(kind, architecture)
        config = self.model.config
        if getattr(config, "audio_channels", 1) != 1 or getattr(config, "chunk_length_s", None) or _normalised(config):
            raise UserError(
                f"this {kind.model} is of several channels, or codes chunks of normalised loudness, which mmgen does"
                " not read: take one of a single channel, such as that of 24 kHz"
            )
        has, least = getattr(config, kind.levels), getattr(config, kind.least) if kind.least else 1
        levels = has if levels is None else levels
        if not least <= levels <= has:
            raise UserError(f"this {kind.model} has {least} to {has} levels to use, not {levels}")
        self.sample_rate = config.sampling_rate
        stride = _stride(self.kind, config)
        samples = round(seconds * self.sample_rate)
        if samples < 1:
            raise UserError(f"seconds must be at least one sample, got {seconds:g}")
        self.sample_shape = (1, samples)
        self.spec = TokenSpec(
            "residual",
            config.codebook_size,
            (math.ceil(samples / stride), 1, 1),
            levels=levels,
            modality="speech",
            rate=self.sample_rate / stride,
            stride=stride,
            first=stride,
        )
        self.train(False).requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """What builds this tokenizer, but for its weights, as `tokenizer` in a config.yaml."""
        seconds = self.sample_shape[1] / self.sample_rate
        init_args = {"architecture": self.architecture, "levels": self.spec.levels, "seconds": seconds}
        return {"class_path": "mmgen.modalities.speech.tokenizers.pretrained.TransformersCodec", "init_args": init_args}

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        x = self.filled(self.check_samples(x)).to(self.model.dtype)
        codes = _encode(self.kind, self.model, x, self.spec.levels)
        return Tokens(rearrange(codes, "b q t -> b t q").contiguous(), (codes.shape[2], 1, 1))

    @torch.no_grad()
    def decode(self, tokens: Tokens, samples: int | None = None) -> Tensor:
        values = self.check_tokens(tokens)
        samples = self.clip_length(tokens, samples)
        if values.min() < 0 or values.max() >= self.spec.size:
            found = f"{values.min().item()} to {values.max().item()}"
            raise UserError(f"TransformersCodec has codes 0 to {self.spec.size - 1}, got {found}")
        x = _decode(self.kind, self.model, rearrange(values, "b t q -> b q t"))
        return F.pad(x, (0, max(0, samples - x.shape[2])))[..., :samples].clamp(-1, 1)  # DAC may end a little early

    def forward(self, x: Tensor) -> Reconstruction:
        """Raises UserError: it is not trained."""
        raise UserError("a codec of transformers is used as it is; to train one, take SEANetCodec")

    def train(self, mode: bool = True) -> "TransformersCodec":
        """Stays in evaluation mode."""
        return super().train(False)


def is_codec(path: str | Path) -> bool:
    """Whether a folder is that of a model of transformers, a codec or not, and no run or export of mmgen."""
    path = Path(path)
    if (path / "config.yaml").exists():
        return False
    try:
        plain = json.loads((path / CONFIG).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(plain, dict) and "model_type" in plain


def open_codec(path: str | Path, levels: int | None = None, seconds: float = 1.0) -> TransformersCodec:
    """The codec in a folder that transformers' `save_pretrained` wrote.

    Args:
        path: holds config.json and model.safetensors.
        levels: codebooks to use; by default all.
        seconds: of the sounds that `spec.grid` is about.

    Raises:
        UserError: a file is missing or corrupt, pickled weights alone, another model type, or weights of another shape
            than the config says.
    """
    path = Path(path)
    architecture = _architecture(path)
    try:
        tokenizer = TransformersCodec(architecture, levels, seconds)
    except UserError as error:
        raise UserError(f"{path / CONFIG}: {error}") from None
    tokenizer.model.load_state_dict(_weights(path, KINDS[architecture["model_type"]]))
    return tokenizer


def _encode(kind: str, model: Any, x: Tensor, levels: int) -> Tensor:
    """x (B, 1, T), T of whole tokens -> (B, levels, T / stride) int64."""
    if kind == "encodec":  # by bandwidth: the least that has so many levels
        enough = [rate for rate in model.config.target_bandwidths if _levels_at(model, rate) >= levels]
        return model.encode(x, bandwidth=min(enough)).audio_codes[0, :, :levels]
    if kind == "dac":
        return model.encode(x, n_quantizers=levels).audio_codes
    return model.encode(x, num_quantizers=levels).audio_codes


def _decode(kind: str, model: Any, codes: Tensor) -> Tensor:
    """codes (B, q, t) -> (B, 1, about t x stride)."""
    if kind == "encodec":
        return model.decode(codes[None], [None]).audio_values
    values = model.decode(audio_codes=codes).audio_values
    return values.unsqueeze(1) if values.ndim == 2 else values


def _levels_at(model: Any, bandwidth: float) -> int:
    return min(model.quantizer.get_num_quantizers_for_bandwidth(bandwidth), model.config.num_quantizers)


def _stride(kind: str, config: Any) -> int:
    if kind == "mimi":
        return round(config.sampling_rate / config.frame_rate)
    return int(config.hop_length)


def _normalised(config: Any) -> bool:
    return bool(getattr(config, "normalize", False))


def _transformers() -> Any:
    try:
        import transformers  # slow to import, and needed for such a tokenizer only
    except ImportError:
        raise UserError(
            "codecs of transformers need a package that is not installed: pip install transformers"
        ) from None
    return transformers


def _build(kind: _Kind, architecture: dict[str, Any]) -> Any:
    transformers = _transformers()
    try:
        return getattr(transformers, kind.model)(getattr(transformers, kind.config).from_dict(dict(architecture)))
    except Exception as error:  # a config from anywhere: what its values break is open-ended
        raise UserError(f"transformers builds no {kind.model} of it ({_line(error)})") from None


def _architecture(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads((path / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path / CONFIG} cannot be read ({_line(error)})") from None
    if not isinstance(plain, dict):
        raise UserError(f"{path / CONFIG} is no config of transformers")
    # Where the folder lay and who wrote it say nothing about the model, and would be taken into exports.
    notes = ("transformers_version", "architectures", "torch_dtype", "dtype")
    return {key: value for key, value in plain.items() if not key.startswith("_") and key not in notes}


def _weights(path: Path, kind: _Kind) -> dict[str, Tensor]:
    """By transformers' own loader, since that knows the names that layers had in earlier versions."""
    transformers, file = _transformers(), path / WEIGHTS
    if not file.is_file() and not (path / f"{WEIGHTS}.index.json").is_file():
        if any(path.glob("*.bin")) or any(path.glob("*.pt*")):
            raise UserError(
                f"{path} holds pickled weights, which could run code and are not read: save them with transformers'"
                f" save_pretrained, which writes {WEIGHTS}"
            )
        raise UserError(f"{path} holds no {WEIGHTS}; copy the whole folder of the codec")
    try:
        with _no_progress(transformers.utils.logging):
            model, about = getattr(transformers, kind.model).from_pretrained(
                path, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # damaged files, and shapes that do not fit: open-ended
        raise UserError(f"{file} is corrupt, or not of the model in {CONFIG} ({_line(error)})") from None
    for key, text in (("missing_keys", "lacks"), ("unexpected_keys", "has an unexpected")):
        if about.get(key):
            raise UserError(f"{file} {text} {min(about[key])}: {CONFIG} beside it describes another model")
    return model.state_dict()


@contextmanager
def _no_progress(logging: Any) -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

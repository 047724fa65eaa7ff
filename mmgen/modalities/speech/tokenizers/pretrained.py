"""Neural codecs of transformers as tokenizers, straight from the folder that `save_pretrained` wrote."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer, audio_spec
from mmgen.tokenizers.pretrained import PretrainedTokenizer

KINDS = {"encodec": "Encodec", "dac": "Dac", "mimi": "Mimi"}  # model type -> how names of classes begin


class TransformersCodec(PretrainedTokenizer, AudioTokenizer):
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

    library, noun, weights, own = "transformers", "codec", "model.safetensors", "SEANetCodec"

    def __init__(self, architecture: dict[str, Any], levels: int | None = None, seconds: float = 1.0) -> None:
        super().__init__()
        self.architecture = architecture
        self.kind = str(architecture.get("model_type"))
        if self.kind not in KINDS:
            raise UserError(f"a model of type {self.kind} is no codec that mmgen reads: {', '.join(KINDS)}")
        kind = KINDS[self.kind]
        name = f"{kind}Model"
        self.model = self.build(
            name,
            lambda library: getattr(library, name)(getattr(library, f"{kind}Config").from_dict(dict(architecture))),
        )
        config = self.model.config
        chunks = getattr(config, "chunk_length_s", None) or getattr(config, "normalize", False)
        if chunks or getattr(config, "audio_channels", 1) != 1:
            raise UserError(
                f"this {name} is of several channels, or codes chunks of normalised loudness, which mmgen does"
                " not read: take one of a single channel, such as that of 24 kHz"
            )
        has = config.n_codebooks if self.kind == "dac" else config.num_quantizers
        least = getattr(config, "num_semantic_quantizers", 1)
        levels = has if levels is None else levels
        if not least <= levels <= has:
            raise UserError(f"this {name} has {least} to {has} levels to use, not {levels}")
        self.sample_rate = config.sampling_rate
        mimi = self.kind == "mimi"
        stride = round(config.sampling_rate / config.frame_rate) if mimi else int(config.hop_length)
        samples = round(seconds * self.sample_rate)
        if samples < 1:
            raise UserError(f"seconds must be at least one sample, got {seconds:g}")
        self.sample_shape = (1, samples)
        self.spec = audio_spec("residual", config.codebook_size, levels, samples, stride, self.sample_rate)
        self.train(False).requires_grad_(False)

    def options(self) -> dict[str, Any]:
        return {"levels": self.spec.levels, "seconds": self.sample_shape[1] / self.sample_rate}

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        x = self.filled(self.check_samples(x)).to(self.model.dtype)
        codes = _encode(self.kind, self.model, x, self.spec.levels)
        return Tokens(rearrange(codes, "b q t -> b t q").contiguous(), (codes.shape[2], 1, 1))

    @torch.no_grad()
    def decode(self, tokens: Tokens, samples: int | None = None) -> Tensor:
        values = self.check_tokens(tokens)
        samples = self.clip_length(tokens, samples)
        self.check_codes(values)
        x = _decode(self.kind, self.model, rearrange(values, "b t q -> b q t"))
        return F.pad(x, (0, max(0, samples - x.shape[2])))[..., :samples].clamp(-1, 1)  # DAC may end a little early


def open_pretrained(path: str | Path, levels: int | None = None, seconds: float = 1.0) -> TransformersCodec:
    """The codec in a folder that transformers' `save_pretrained` wrote; other arguments as for `TransformersCodec`.

    Raises:
        UserError: a file is missing, corrupt, pickled or of another model, or the levels are not the model's.
    """
    path = Path(path)
    # Where the folder lay and who wrote it say nothing about the model, and would be taken into exports.
    notes = ("transformers_version", "architectures", "torch_dtype", "dtype")
    plain = TransformersCodec.read_architecture(path)
    architecture = {key: value for key, value in plain.items() if not key.startswith("_") and key not in notes}
    return TransformersCodec.in_folder(path, architecture, levels=levels, seconds=seconds)


def _encode(kind: str, model: Any, x: Tensor, levels: int) -> Tensor:
    """x (B, 1, T), T of whole tokens -> (B, levels, T / stride) int64."""
    if kind == "encodec":  # by bandwidth: the least that has so many levels
        levels_at = model.quantizer.get_num_quantizers_for_bandwidth
        enough = [rate for rate in model.config.target_bandwidths if levels_at(rate) >= levels]
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

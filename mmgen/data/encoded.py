"""What a tokenizer makes of a source."""

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources import Source
from mmgen.tokenizers import Tokenizer


def encoded_spec(tokenizer: Tokenizer, source: Source, path: str) -> TokenSpec:
    """The tokens of a source's samples; clips, sounds and motions may have another length than the tokenizer's.

    Raises:
        UserError: the tokenizer, which is at `path`, takes samples of another shape or rate, or an action belongs to
            each frame and it makes one latent of several.
    """
    spec, trained, shape = tokenizer.spec, tuple(tokenizer.sample_shape), tuple(source.sample_shape)
    if spec.unit is not None and len(shape) == len(trained) and shape[1] != trained[1]:
        spec, trained = spec.with_frames(shape[1]), (trained[0], shape[1], *trained[2:])
    if shape != trained:
        raise UserError(
            f"tokenizer {path} takes samples of shape {trained}, but the data has {shape}; choose a tokenizer that was"
            " trained on it"
        )
    rate = getattr(tokenizer, "sample_rate", None)
    if rate != source.sample_rate:
        raise UserError(
            f"tokenizer {path} takes {_rate(rate)}, but the data has {_rate(source.sample_rate)}: set"
            " data.source.sample_rate, or choose a tokenizer that was trained at that rate"
        )
    fps = getattr(tokenizer, "fps", None)
    if fps is not None and fps != source.fps:
        raise UserError(
            f"tokenizer {path} takes motions at {fps:g} frames a second, but the data has {source.fps or 0:g}: set"
            " data.source.fps, or choose a tokenizer that was trained at that rate"
        )
    if source.actions and spec.stride > 1:
        raise UserError(
            f"tokenizer {path} makes one latent of {spec.stride} frames, but the data has an action for each frame;"
            " choose a tokenizer that makes a latent of each"
        )
    return spec


def _rate(sample_rate: int | None) -> str:
    return "samples that are no sounds" if sample_rate is None else f"sounds at {sample_rate} Hz"

"""Motions of people, as the engine knows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmgen.core.modality import AppControls, Modality

if TYPE_CHECKING:
    from torch import Tensor

    from mmgen.tokenizers import Tokenizer


@dataclass(frozen=True)
class MotionSampleOptions:
    """Options of `mmgen sample` for motions.

    Args:
        text: what is done, and again for each further text; `@FILE` for a file with one a line. With more samples than
            texts, they are used in turn.
        inpaint: in-betweening: `held_out` or `train`, for motions of the run's data whose middle third is made anew,
            with the recordings beside.
        frames: how long; by default they end by themselves where the run's do, and are as long as its longest where
            not.
    """

    text: list[str] | None = None
    inpaint: str | None = None
    frames: int | None = None


class MotionModality(Modality):
    """Features of motions (D, T), of any finite values."""

    name = "motion"
    plural = "motions"
    package = __package__
    unit = "frames"
    fills_end = True
    bounded = False
    app = AppControls(frames=True)
    sample_options = MotionSampleOptions

    def reconstruction_metrics(
        self, tokenizer: "Tokenizer", made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        from mmgen.modalities.motion.features import position_errors
        from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer

        assert isinstance(tokenizer, MotionTokenizer)
        errors = position_errors(tokenizer.raw(made), batch["x"], batch.get("length"))
        return {name: error.mean() for name, error in errors.items()}


MODALITY = MotionModality()

"""Motions of people, as the engine knows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.core.modality import AppControls, Modality, SamplingCommand

if TYPE_CHECKING:
    from torch import Tensor

    from mmgen.data import DataModule
    from mmgen.data.sources import Source
    from mmgen.evaluation.command import EvaluationCommand
    from mmgen.page.parts import PageParts
    from mmgen.paradigms import SampleOptions
    from mmgen.sampling.preview import Preview
    from mmgen.sampling.request import SamplingRequest
    from mmgen.store.store import Loaded
    from mmgen.tokenizers import Tokenizer
    from mmgen.training.generator_module import GeneratorModule
    from mmgen.training.tokenizer_module import TokenizerModule


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

    def sample(self, loaded: "Loaded", arguments: dict[str, Any]) -> SamplingCommand:
        from mmgen.modalities.motion.sample_files import MotionSampling

        return MotionSampling(loaded, arguments)

    def stream(self, loaded: "Loaded", request: "SamplingRequest", every: float) -> Iterator["Preview"]:
        from mmgen.modalities.motion.live import stream_motion_previews

        return stream_motion_previews(loaded, request, every)

    def reconstruct(self, tokenizer: "Tokenizer", files: Sequence[str], out: str, arguments: dict[str, Any]) -> None:
        from mmgen.modalities.motion.reconstruction import reconstruct_motions

        reconstruct_motions(tokenizer, files, out, **arguments)

    def reconstruct_held_out(
        self, tokenizer: "Tokenizer", source: "Source", count: int, folder: Path
    ) -> dict[str, Any]:
        from mmgen.modalities.motion.reconstruction import reconstruct_held_out_motions

        return reconstruct_held_out_motions(tokenizer, source, count, folder)

    def page_parts(self) -> "PageParts":
        from mmgen.modalities.motion.page.sections import PARTS

        return PARTS

    def evaluation(self) -> type["EvaluationCommand"]:
        from mmgen.modalities.motion.evaluation.rows import MotionEvaluation

        return MotionEvaluation

    def reconstruction_preview(self, module: "TokenizerModule", data: "DataModule", count: int) -> "Preview":
        from mmgen.modalities.motion.previews import motion_reconstruction

        return motion_reconstruction(module, data, count).preview()

    def sample_previews(
        self,
        module: "GeneratorModule",
        data: "DataModule",
        tokenizer: "Tokenizer",
        count: int,
        options: "SampleOptions",
    ) -> Iterator["Preview"]:
        from mmgen.modalities.motion.previews import motion_samples

        return (pairs.preview() for pairs in motion_samples(module, data, tokenizer, count, options))

    def reconstruction_metrics(
        self, tokenizer: "Tokenizer", made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        from mmgen.modalities.motion.distance import position_errors
        from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer

        assert isinstance(tokenizer, MotionTokenizer)
        errors = position_errors(tokenizer.raw(made), batch["x"], batch.get("length"))
        return {name: error.mean() for name, error in errors.items()}


MODALITY = MotionModality()

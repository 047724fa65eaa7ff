"""What `mmgen evaluate` measures of clips: a tokenizer's reconstructions, and a generator's predictions of held-out
clips.
"""

from dataclasses import dataclass

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import changed
from mmgen.data.sources import Source
from mmgen.evaluation.command import EvaluationCommand, ModeSampling, Rows
from mmgen.evaluation.likelihood import likelihood_rows, modes_with_likelihood
from mmgen.evaluation.reference import Reference
from mmgen.modalities.video.evaluation.frechet_video import I3D, FrameFeatures, get_video_extractor
from mmgen.modalities.video.evaluation.generator import (
    PredictionTask,
    check_task,
    clip_features,
    measure_predictions,
)
from mmgen.modalities.video.evaluation.tokenizer import measure_video_tokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.store import Loaded, Saved
from mmgen.tokenizers import Tokenizer

OF_GENERATORS = ("context", "frames", "rollout")
"""Options that choose what to predict."""


@dataclass(frozen=True)
class VideoEvaluation(EvaluationCommand):
    """One call of the command, on clips."""

    measured = "uint8 clips"

    def tokenizer(self, saved: Saved, tokenizer: Tokenizer) -> tuple[Rows, Reference]:
        self.reject_options(f"for generators, and {saved.path} is a tokenizer", *OF_GENERATORS, "likelihood")
        reference = Reference.held_out(self._source(saved, tokenizer), self.num(2))
        extractor = self._extractor(reference.sample_shape)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_video_tokenizer(tokenizer, reference, extractor, self.batch, progress)
        return self.rows(report.metrics, reference, tokenizer, len(reference)), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[Rows, Reference]:
        rollout, known = self.arguments["rollout"], self.arguments["context"]
        tokenizer = require_tokenizer(loaded)
        source, length = self._source(saved, tokenizer), self._length(tokenizer)
        longest = longer(source, length)
        frames, needed = longest.sample_shape[1], length if rollout is None else known
        if frames < needed:
            raise UserError(f"the data has clips of {frames} frames and no longer ones, and {needed} are needed here")
        actions = len(loaded.generator.names("actions"))
        if actions and source.actions not in (0, actions):
            counts = f"{source.actions} actions, and {saved.path} follows {actions}"
            raise UserError(f"the data has {counts}; choose other --data")
        modes, num = self.modes(loaded), self.num(2) or self.default_num
        reference = Reference.held_out(longest, num)
        extractor = self._extractor((source.sample_shape[0], length, *source.sample_shape[2:]))
        if rollout is not None and not isinstance(extractor, FrameFeatures):
            raise UserError(
                f"drift compares single frames, which {extractor.name} does not: --extractor frames_efflite0"
            )
        task = PredictionTask.of(loaded, reference, known, length, self.batch)
        for mode in modes:
            check_task(ModeSampling(loaded, mode, options, self.seed, self.batch), task)
        likely = modes_with_likelihood(loaded, modes, self.arguments["likelihood"])
        real, rows = clip_features(extractor, task.real, self.batch), Rows()
        how = {"context_frames": known, "predicted_frames": length - known, "trained_frames": tokenizer.sample_shape[1]}
        for mode in modes:
            with self.sampling("predicting", len(task.labels), loaded, mode, options) as sampling:
                report = measure_predictions(sampling, task, extractor, real, drift=rollout is not None)
            rows += self.mode_rows(sampling, report, reference, len(task.labels), **how)
        if likely:
            rows += likelihood_rows(loaded, likely, Reference.held_out(source, num), self.batch)
        return rows, reference

    def settings(self) -> str | None:
        """Also the options that choose what to predict."""
        chosen = [name for name in OF_GENERATORS if self.arguments[name] != self.defaults[name]]
        words = [f"{name} {self.arguments[name]}" for name in chosen]
        return ", ".join([*words, *filter(None, [super().settings()])]) or None

    def _source(self, saved: Saved, tokenizer: Tokenizer) -> Source:
        """The real clips, of any number of frames of the size that the tokenizer takes."""
        source = self.source(saved)
        expected, shape = tuple(tokenizer.sample_shape), tuple(source.sample_shape)
        if len(shape) != 4 or (shape[0], *shape[2:]) != (expected[0], *expected[2:]):
            shapes = f"{expected}, and the data has {shape}"
            raise UserError(f"the tokenizer takes samples of shape {shapes}; choose other --data")
        return source

    def _length(self, tokenizer: Tokenizer) -> int:
        """Frames of the clips to be made, with those of the context."""
        trained, known = tokenizer.sample_shape[1], self.arguments["context"]
        frames, rollout = self.arguments["frames"], self.arguments["rollout"]
        if frames is not None and rollout is not None:
            raise UserError("--frames and --rollout both say how far to predict; leave one out")
        if known < 0:
            raise UserError(f"--context must be at least 0, got {known}")
        if rollout is not None and rollout < 2:
            raise UserError(f"--rollout must be at least 2 times the length of training, got {rollout}")
        predicted = (rollout or 1) * trained - known if frames is None else frames
        if predicted < 1:
            raise UserError(f"--context {known} leaves nothing to predict of {trained} frames; choose --frames")
        return known + predicted

    def _extractor(self, shape: tuple[int, ...]) -> FrameFeatures | I3D:
        name, weights, trust = (self.arguments[option] for option in ("extractor", "weights", "trust_code"))
        extractor = get_video_extractor(name, shape, weights, self.device, trust)
        extractor.require_length(shape[1])
        return extractor


def longer(source: Source, frames: int) -> Source:
    """The same data in clips of at least so many frames, where its source has an argument `frames`; else as it is."""
    return source if source.sample_shape[1] >= frames else changed(source, frames=frames)


COMMAND = VideoEvaluation

"""What `mmgen evaluate` measures of clips: of a tokenizer what it keeps, of a generator how it goes on from held-out
ones.
"""

from dataclasses import dataclass
from typing import Any

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source, changed, open_source
from mmgen.data.sources import Source
from mmgen.evaluation.command import (
    EvaluationCommand,
    ResultRows,
    adaptive,
    figure_rows,
    precision_of,
)
from mmgen.evaluation.likelihood_rows import likelihood_rows, modes_with_likelihood
from mmgen.evaluation.reference import Reference
from mmgen.modalities.video.evaluation.frame_metrics import ClipReport
from mmgen.modalities.video.evaluation.frechet_video import I3D, FrameFeatures, get_video_extractor
from mmgen.modalities.video.evaluation.generator import Look, Task, check_task, measure_predictions
from mmgen.modalities.video.evaluation.tokenizer import measure_video_tokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import settings
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.store import Loaded, Saved
from mmgen.tokenizers import Tokenizer

OF_GENERATORS = ("context", "frames", "rollout")
"""Options that choose what to predict."""


CLIPS, CLIPS_AT_ONCE = 100, 16
"""How many samples a mode draws, and how many are in memory together, by default."""


@dataclass(frozen=True)
class VideoEvaluation(EvaluationCommand):
    """One call of the command, on clips."""

    def tokenizer(self, saved: Saved, tokenizer: Tokenizer) -> tuple[ResultRows, Reference]:
        """What a tokenizer keeps of held-out clips.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        self.reject_options(f"for generators, and {saved.path} is a tokenizer", *OF_GENERATORS, "likelihood")
        source = self._source(saved, tokenizer)
        reference = Reference.held_out(source, self._count())
        extractor, batch = self._extractor(reference.sample_shape), self.given("batch", CLIPS_AT_ONCE)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_video_tokenizer(tokenizer, reference, extractor, batch, progress)
        common = {"samples": len(reference), "seed": None, "steps": None}
        return _rows(report, reference, common, precision_of(tokenizer)), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[ResultRows, Reference]:
        """Predictions of a generator in each of its modes, or in the chosen one, beside what really came.

        Raises:
            UserError: as the parts do, before anything is sampled.
        """
        mode, seed, rollout = (self.arguments[name] for name in ("mode", "seed", "rollout"))
        batch = self.given("batch", CLIPS_AT_ONCE)
        tokenizer = require_tokenizer(loaded)
        source, known, length = self._source(saved, tokenizer), self.arguments["context"], self._length(tokenizer)
        source = longer(source, length)
        have, needed = source.sample_shape[1], length if rollout is None else known
        if have < needed:
            raise UserError(f"the data has clips of {have} frames and no longer ones, and {needed} are needed here")
        if source.actions not in (0, loaded.generator.actions) and loaded.generator.actions:
            counts = f"{source.actions} actions, and {saved.path} follows {loaded.generator.actions}"
            raise UserError(f"the data has {counts}; choose other --data")
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        reference = Reference.held_out(source, self._count() or CLIPS)
        extractor = self._extractor((source.sample_shape[0], length, *source.sample_shape[2:]))
        if rollout is not None and not isinstance(extractor, FrameFeatures):
            raise UserError(
                f"drift compares single frames, which {extractor.name} does not: --extractor frames_efflite0"
            )
        task = Task.of(loaded, reference, known, length, batch)
        for each in modes:
            check_task(loaded, each, task, options, seed, batch)
        likely = modes_with_likelihood(loaded, modes, self.arguments["likelihood"])
        real, rows = Look.at(extractor, task.real, batch), []
        how = {"context_frames": known, "predicted_frames": length - known, "trained_frames": tokenizer.sample_shape[1]}
        for each in modes:
            with progress_bar(f"predicting: {each}", len(task.labels)) as progress:
                report = measure_predictions(
                    loaded, each, task, extractor, real, options, seed, batch, rollout is not None, progress
                )  # fmt: skip
            steps = None if adaptive(options) else report.steps
            common = {"samples": len(task.labels), "seed": seed, "steps": steps, "mode": each}
            common["settings"] = self._settings()
            rows += _rows(report, reference, common, precision_of(loaded.generator), **how)
        if likely:
            whole = Reference.held_out(self._source(saved, tokenizer), self._count() or CLIPS)
            rows += [row for each in likely for row in likelihood_rows(loaded, each, whole, batch)]
        return rows, reference

    def _source(self, saved: Saved, tokenizer: Tokenizer) -> Source:
        """The real clips, of frames as the tokenizer takes them."""
        data = self.arguments["data"]
        source = build_source(saved.config) if data is None else open_source(data)
        wanted, found = tuple(tokenizer.sample_shape), tuple(source.sample_shape)
        if len(found) != 4 or (found[0], *found[2:]) != (wanted[0], *wanted[2:]):  # of any number of frames
            shapes = f"{wanted}, and the data has {found}"
            raise UserError(f"the tokenizer takes samples of shape {shapes}; choose other --data")
        return source

    def _length(self, tokenizer: Tokenizer) -> int:
        """Frames of the clips to be made, those that are given among them."""
        trained, known = tokenizer.sample_shape[1], self.arguments["context"]
        frames, rollout = self.arguments["frames"], self.arguments["rollout"]
        if frames is not None and rollout is not None:
            raise UserError("--frames and --rollout both say how far to predict; leave one out")
        if known < 0:
            raise UserError(f"--context must be at least 0, got {known}")
        if rollout is not None and rollout < 2:
            raise UserError(f"--rollout goes on to 2 times the length of training at least, got {rollout}")
        predicted = (rollout or 1) * trained - known if frames is None else frames
        if predicted < 1:
            raise UserError(f"--context {known} leaves nothing to predict of {trained} frames; choose --frames")
        return known + predicted

    def _count(self) -> int | None:
        """How many clips. Raises UserError for fewer than a set."""
        count = self.arguments["num"]
        if count is not None and count < 2:
            raise UserError(f"sets of at least 2 clips are compared, got --num {count}")
        return count

    def _extractor(self, shape: tuple[int, ...]) -> FrameFeatures | I3D:
        name, weights = self.arguments["extractor"], self.arguments["weights"]
        found = get_video_extractor(name, shape, weights, self.device)
        found.require_length(shape[1])
        return found

    def _settings(self) -> str | None:
        """The options that say what was predicted and how, where they are not the default ones."""
        chosen = [name for name in OF_GENERATORS if self.arguments[name] != self.defaults[name]]
        words = [f"{name} {self.arguments[name]}" for name in chosen]
        return ", ".join([*words, *filter(None, [settings(self.arguments)])]) or None


def longer(source: Source, frames: int) -> Source:
    """The same data in clips of at least so many frames, where its source has an argument `frames`; else as it is."""
    return source if source.sample_shape[1] >= frames else changed(source, frames=frames)


def _rows(
    report: ClipReport, reference: Reference, common: dict[str, Any], precision: str, **protocol: Any
) -> ResultRows:
    """A row a figure, each with its own protocol."""
    rows: ResultRows = []
    for each in report.figures:
        how = protocol | each.protocol
        rows += figure_rows({each.name: each.value}, each.extractor, reference, common, precision, "uint8 clips", **how)
    return rows

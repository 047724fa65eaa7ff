"""What `mmgen evaluate` measures of motions: a tokenizer's reconstructions, and how well a generator does what is done
in real motions.
"""

from dataclasses import dataclass

import torch

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.core.terminal import print_safely
from mmgen.data.held_out import all_over
from mmgen.data.sources import Source
from mmgen.evaluation.command import EvaluationCommand, ModeSampling, Report, Rows
from mmgen.evaluation.reference import Chosen, Reference
from mmgen.modalities.motion.evaluation.generator import Real, measure_motions, measure_real
from mmgen.modalities.motion.evaluation.inbetween import Gaps, linear, measure_inbetween
from mmgen.modalities.motion.evaluation.metrics import Judges
from mmgen.modalities.motion.evaluation.tokenizer import measure_motion_tokenizer
from mmgen.modalities.motion.sampling import require_motion_tokenizer
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded, Saved

_TEXTS = "texts and lengths of held-out motions, going round"
_CLASSES = "classes and lengths of training motions, since held-out time may be cut shorter than these"


@dataclass(frozen=True)
class MotionEvaluation(EvaluationCommand):
    """One call of the command, on motions."""

    measured = "float32 features"

    def tokenizer(self, saved: Saved, tokenizer: MotionTokenizer) -> tuple[Rows, Reference]:
        reference = self._reference(self._source(saved, tokenizer), self.num(1))
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_motion_tokenizer(tokenizer, reference, self.batch, progress)
        return self.rows(report.metrics, reference, tokenizer, len(reference)), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[Rows, Reference]:
        source = self._source(saved, require_motion_tokenizer(loaded))
        num, modes = self.num(2) or self.default_num, self.modes(loaded)
        reference, learnt = self._reference(source, num), source.samples("train")
        held_out = Real.of(loaded, source, reference)
        training = Real.of(loaded, source, Chosen(learnt, all_over(len(learnt), num)))
        real, words = training, _CLASSES
        if held_out.reads:
            real, words = held_out.rows(torch.arange(num) % len(held_out)), _TEXTS
        for mode in modes:
            real.task(ModeSampling(loaded, mode, options, self.seed, self.batch))  # its errors come before the work
        judges, gaps = Judges.of(source), Gaps.of(held_out, loaded.spec)
        others = judges.features(held_out.motions)
        metrics = measure_real(held_out, training, judges) + linear(gaps)
        rows = self.rows(metrics, reference, loaded.generator, len(reference))
        for mode in modes:
            with self.sampling("moving", num, loaded, mode, options) as sampling:
                report = measure_motions(sampling, real, judges, others)
            rows += self.mode_rows(sampling, report, reference, num, asked_for=words)
            try:
                with self.sampling("filling gaps", len(gaps), loaded, mode, options) as sampling:
                    between = Report(measure_inbetween(sampling, gaps), None, report.steps)
                rows += self.mode_rows(sampling, between, reference, len(gaps))
            except UserError as error:  # it has sampled with all the rest before
                print_safely(f"inbetween_mm is not measured in mode {mode}: {error}")
        return rows, reference

    def _source(self, saved: Saved, tokenizer: MotionTokenizer) -> Source:
        """The real motions, of the tokenizer's features and rate."""
        source = self.source(saved)
        if "skeleton" not in source.more:
            raise UserError(f"{saved.path} is of motions, and the data has samples of shape {source.sample_shape}")
        expected, actual = (len(tokenizer.mean), tokenizer.fps), (source.sample_shape[0], source.fps)
        if expected != actual:
            both = " and the data ".join(
                f"{dims} features at {fps or 0:g} frames a second" for dims, fps in (expected, actual)
            )
            raise UserError(f"the tokenizer takes {both}; choose other --data")
        return source

    def _reference(self, source: Source, count: int | None) -> Reference:
        """So many held-out motions from all over the split, or all if there are fewer."""
        samples = source.samples("val")
        if count is not None and count < len(samples):
            samples = Chosen(samples, all_over(len(samples), count).sort().values)
        return Reference.held_out(source, samples)


COMMAND = MotionEvaluation

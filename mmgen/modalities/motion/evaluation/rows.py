"""What `mmgen evaluate` measures of motions: of a tokenizer what it keeps, of a generator how well it does what is done
in held-out motions.
"""

from dataclasses import dataclass
from typing import Any

import torch

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source, open_source
from mmgen.data.held_out import all_over
from mmgen.data.sources import Source
from mmgen.evaluation.command import (
    EvaluationCommand,
    Metric,
    ResultRows,
    adaptive,
    metric_rows,
    precision_of,
)
from mmgen.evaluation.reference import Chosen, Reference
from mmgen.modalities.motion.evaluation.generator import Real, measure_motions, measure_real
from mmgen.modalities.motion.evaluation.inbetween import Gaps, linear, measure_inbetween
from mmgen.modalities.motion.evaluation.judges import Judges
from mmgen.modalities.motion.evaluation.tokenizer import measure_motion_tokenizer
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import settings
from mmgen.sampling.samples import check_request, pick_mode, require_tokenizer
from mmgen.store.store import Loaded, Saved

FEATURES = "float32 features"

_TEXTS = "texts and lengths of held-out motions, going round"
_CLASSES = "classes and lengths of training motions, since held-out time may be cut shorter than these"


MOTIONS, MOTIONS_AT_ONCE = 100, 16
"""How many samples a mode draws, and how many are in memory together, by default."""


@dataclass(frozen=True)
class MotionEvaluation(EvaluationCommand):
    """One call of the command, on motions."""

    def tokenizer(self, saved: Saved, tokenizer: MotionTokenizer) -> tuple[ResultRows, Reference]:
        """What a tokenizer keeps of held-out motions.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        reference = self._reference(self._source(saved, tokenizer), self._count(1))
        batch = self.given("batch", MOTIONS_AT_ONCE)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_motion_tokenizer(tokenizer, reference, batch, progress)
        common = {"samples": len(reference), "seed": None, "steps": None}
        return metric_rows(report.figures, reference, common, precision_of(tokenizer), FEATURES), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[ResultRows, Reference]:
        """Motions of a generator in each of its modes, or in the chosen one, of the classes and texts of held-out ones.

        Raises:
            UserError: as the parts do, before anything is sampled.
        """
        mode, seed, batch = self.arguments["mode"], self.arguments["seed"], self.given("batch", MOTIONS_AT_ONCE)
        tokenizer = require_tokenizer(loaded)
        assert isinstance(tokenizer, MotionTokenizer)
        source, num = self._source(saved, tokenizer), self._count(2) or MOTIONS
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        for each in modes:
            pick_mode(loaded, each)
        reference, learnt = self._reference(source, num), source.samples("train")
        held_out = Real.of(loaded, source, reference)
        training = Real.of(loaded, source, Chosen(learnt, all_over(len(learnt), num)))
        asked, words = (
            (held_out.rows(torch.arange(num) % len(held_out)), _TEXTS) if held_out.reads else (training, _CLASSES)
        )
        check_request(loaded, asked.labels, options, batch)
        judges, gaps = Judges.of(source), Gaps.of(held_out, loaded.spec)
        others, precision = judges.features(held_out.motions), precision_of(loaded.generator)
        found = measure_real(held_out, training, judges) + linear(gaps)
        common: dict[str, Any] = {"samples": len(reference), "seed": None, "steps": None}
        rows = metric_rows(found, reference, common, precision, FEATURES)
        for each in modes:
            with progress_bar(f"moving: {each}", num) as progress:
                report = measure_motions(loaded, each, asked, judges, others, options, seed, batch, progress)
            steps = None if adaptive(options) else report.moved.steps
            how = {"samples": num, "seed": seed, "steps": steps, "mode": each, "settings": settings(self.arguments)}
            rows += metric_rows(report.figures, reference, how, precision, FEATURES, asked_for=words)
            between = how | {"samples": len(gaps)}
            rows += metric_rows(self._inbetween(loaded, each, gaps, options), reference, between, precision, FEATURES)
        return rows, reference

    def _inbetween(self, loaded: Loaded, mode: str, gaps: Gaps, options: SampleOptions) -> list[Metric]:
        """Nothing, and a line that says why, for a mode that cannot fill gaps."""
        batch = self.given("batch", MOTIONS_AT_ONCE)
        try:
            with progress_bar(f"filling gaps: {mode}", len(gaps)) as progress:
                return measure_inbetween(loaded, mode, gaps, options, self.arguments["seed"], batch, progress)
        except UserError as error:  # it has sampled with all the rest before
            print(f"inbetween_mm is not measured in mode {mode}: {error}")
            return []

    def _source(self, saved: Saved, tokenizer: MotionTokenizer) -> Source:
        """The real motions, of the tokenizer's features and rate."""
        data = self.arguments["data"]
        source = build_source(saved.config) if data is None else open_source(data)
        if "skeleton" not in source.more:
            raise UserError(f"{saved.path} is of motions, and the data has samples of shape {source.sample_shape}")
        wanted, found = (len(tokenizer.mean), tokenizer.fps), (source.sample_shape[0], source.fps)
        if wanted != found:
            both = " and the data ".join(
                f"{dims} features at {fps or 0:g} frames a second" for dims, fps in (wanted, found)
            )
            raise UserError(f"the tokenizer takes {both}; choose other --data")
        return source

    def _reference(self, source: Source, count: int | None) -> Reference:
        """So many held-out motions from all over the split, or all if there are fewer."""
        reference = Reference.held_out(source)
        size = len(reference)
        if count is not None and count < size:
            reference.samples = Chosen(reference.samples, all_over(size, count).sort().values)
        return reference

    def _count(self, least: int) -> int | None:
        """How many motions. Raises UserError for too few."""
        count = self.arguments["num"]
        if count is not None and count < least:
            raise UserError(f"at least {least} motion{'s are' if least > 1 else ' is'} needed, got --num {count}")
        return count

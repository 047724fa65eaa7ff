"""The demo of motions: recorded ones to tokens, generators that move as they are told in several ways, a page."""

from typing import Any, ClassVar, cast

import torch

from mmgen.apps.demo.budget import Plan
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.motion.between import fill_gaps
from mmgen.apps.demo.motion.findings import LineFindings, ModeFindings, MotionFindings
from mmgen.apps.demo.motion.line import MotionLine
from mmgen.apps.demo.motion.settings import MotionSettings
from mmgen.apps.demo.pair import SECOND, PairDemo
from mmgen.apps.demo.settings import SEED, repeating
from mmgen.apps.demo.stages import Stage, Walk
from mmgen.core.progress import progress_bar
from mmgen.data.held_out import all_over
from mmgen.data.sources import Source
from mmgen.evaluation.reference import Chosen, Reference
from mmgen.modalities.motion.evaluation.generator import MotionReport, Real, measure_motions, measure_real
from mmgen.modalities.motion.evaluation.judges import Judges
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.evaluation.tokenizer import MotionTokenizerReport, measure_motion_tokenizer
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.store.store import Loaded, load_generator, load_tokenizer

_SEARCHED = 500  # training motions among which one of each action is looked for


class MotionDemo(MotionLine, PairDemo):
    """People who walk, kick, roll and dance."""

    settings_class: ClassVar = MotionSettings
    settings: MotionSettings
    needs: ClassVar = {"pybullet_data": "motion"}
    stages: ClassVar = [
        Stage("tokenizer", "Train the tokenizer: motions to residual codes and back", 120),
        Stage(f"{SECOND}tokenizer", "Train another one, of continuous tokens", 80),
        Stage("judge", "Train the judge, a classifier of real motions", 40),
        Stage("reconstruction", "Measure what the tokenizers keep", 5),
        Stage("tokens", "Write all motions as tokens, once", 8),
        Stage(f"{SECOND}tokens", "And as continuous ones", 8),
        Stage("calibration", "Time a few steps and motions, to plan the rest", 20),
        Stage("generator", "Train the generator of codes, both modes in one", 120),
        Stage(f"{SECOND}generator", "Train the generator of continuous tokens", 80),
        Stage("samples", "Move in every mode, fill gaps, and measure", 20),
        Stage("page", "Draw the page", 15),
    ]

    def __init__(self, settings: MotionSettings, folder: DemoFolder, walk: Walk) -> None:
        super().__init__(settings, folder, walk)
        self.sampling, self.second = settings.sampling, None
        if settings.second is not None:
            second = MotionLine(settings.second, folder, walk, SECOND)
            self.second, second.commands, second.sampling = second, self.commands, settings.sampling

    @property
    def lines(self) -> list[MotionLine]:
        return cast(list[MotionLine], super().lines)

    def look(self, source: Source) -> None:
        with self.walk.stage("judge"):
            self.judges = Judges.of(source)
        with self.walk.stage("reconstruction"):
            self.kept = [self._keep(line, source) for line in self.lines]

    def _keep(self, line: MotionLine, source: Source) -> MotionTokenizerReport:
        from mmgen.apps.cli import evaluate

        path, data = line._path("tokenizer"), line._data_of_tokens()
        tokenizer = load_tokenizer(path)
        assert isinstance(tokenizer, MotionTokenizer)
        self.commands.append(repeating("evaluate", evaluate.run, path=path, **({} if data is None else {"data": data})))
        return measure_motion_tokenizer(tokenizer, Reference.held_out(source))

    def find(self, source: Source, loaded: Loaded, planned: Plan) -> MotionFindings:
        every = [loaded, *(load_generator(line._path("generator")) for line in self.lines[1:])]
        self.recorded = one_of_each(source, loaded.facts.class_names)
        with self.walk.stage("samples"):
            lines = [self._line(*each, source, planned.samples) for each in zip(self.lines, every, self.kept)]
            held_out, learnt = source.samples("val"), source.samples("train")
            real = measure_real(
                Real.of(loaded, source, Reference.held_out(source)),
                Real.of(loaded, source, Chosen(learnt, all_over(len(learnt), planned.samples))), self.judges,
            )  # fmt: skip
            known = Chosen(learnt, all_over(len(learnt), self.settings.known))
            parts = (("held-out motions", held_out), ("motions of training", known))
            shown, options = self.settings.filled, self.options
            gaps = [fill_gaps(loaded, source, of, samples, shown, options) for of, samples in parts]
        return MotionFindings(
            self.settings, self.folder.path, loaded, source, self.commands, self.recorded, lines, real,
            [each for each in gaps if each is not None],
        )  # fmt: skip

    def _line(
        self, line: MotionLine, loaded: Loaded, kept: MotionTokenizerReport, source: Source, count: int
    ) -> LineFindings:
        held_out, learnt = Real.of(loaded, source, Reference.held_out(source)), source.samples("train")
        asked = Real.of(loaded, source, Chosen(learnt, all_over(len(learnt), count)))
        others = self.judges.features(held_out.motions)
        modes = [self._mode(line, loaded, mode, asked, others) for mode in loaded.paradigm.modes()]
        return LineFindings(line.prefix, loaded, kept, modes)

    def _mode(
        self, line: MotionLine, loaded: Loaded, mode: str, asked: Real, others: torch.Tensor | None
    ) -> ModeFindings:
        from mmgen.apps.cli import evaluate, sample

        with progress_bar(f"moving: {mode}", len(asked)) as progress:
            report: MotionReport = measure_motions(
                loaded, mode, asked, self.judges, others, line.options(mode), SEED, progress=progress
            )
        told: dict[str, Any] = {"mode": mode, **self.sampling.get(mode, {})}
        names, frames = loaded.facts.class_names, [len(motion) for motion in self.recorded]
        if mode in self.settings.ending:
            shown = line.draw(loaded, mode, len(names))
            asked_for: list[dict[str, Any]] = [{"num": len(names)}]
        else:
            shown = [line.draw_as_long(loaded, mode, *each) for each in enumerate(frames)]
            asked_for = [{"class_": name, "frames": count, "num": 1} for name, count in zip(names, frames)]
        return ModeFindings(
            mode, report, shown,
            [repeating("sample", sample.run, path=loaded.path, **each, **told) for each in asked_for],
            repeating("evaluate", evaluate.run, path=loaded.path, num=len(asked), **told),
        )  # fmt: skip


def one_of_each(source: Source, labels: list[str]) -> list[torch.Tensor]:
    """Joints (T, J, 3) of a motion of training of each action: the longest among some hundred."""
    learnt = source.samples("train")
    batch = learnt.take(torch.arange(min(_SEARCHED, len(learnt))))
    named = zip(motions_of(batch), batch["label"].tolist())
    longest = dict(sorted(((label, motion) for motion, label in named), key=lambda each: each[1].shape[1]))
    return [features_to_joints(longest[source.class_names.index(label)].mT) for label in labels]

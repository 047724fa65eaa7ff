"""From what the demo of motions measured to its page and its metrics.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmgen.apps.demo.motion.between import unlike
from mmgen.apps.demo.motion.settings import MotionSettings
from mmgen.apps.demo.pair_findings import LineFound, PairFindings, in_words
from mmgen.evaluation.command import Metric
from mmgen.modalities.motion.evaluation.generator import MotionReport
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.evaluation.tokenizer import MotionTokenizerReport
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.page import motion_page
from mmgen.modalities.motion.page.story import Between, MotionCoder, MotionMode, MotionStory
from mmgen.page.collect import mask_pictures
from mmgen.page.page import Page


@dataclass(frozen=True, eq=False)
class ModeFindings:
    """What was found about one way of moving.

    Args:
        mode: its name.
        report: figures, and the motions behind them.
        shown: joints (T, J, 3) of a motion of each action.
        commands: repeat these.
        measure_command: repeats the figures.
    """

    mode: str
    report: MotionReport
    shown: list[Tensor]
    commands: list[str]
    measure_command: str


@dataclass(frozen=True, eq=False)
class LineFindings(LineFound):
    """What was found about a tokenizer and its generator.

    Args:
        kept: of the tokenizer.
        modes: of the generator.
    """

    kept: MotionTokenizerReport
    modes: list[ModeFindings]


@dataclass(frozen=True, eq=False)
class MotionFindings(PairFindings):
    """Everything that was found about motions.

    Args:
        recorded: joints (T, J, 3) of a motion of training of each action.
        lines: the ways from motions to tokens and back.
        real: what the judges make of real held-out motions.
        betweens: gaps that the first generator filled.
    """

    made_from: ClassVar = "cut from recordings of people"

    settings: MotionSettings
    recorded: list[Tensor]
    lines: list[LineFindings]
    real: list[Metric]
    betweens: list[Between]

    @property
    def found(self) -> list[LineFindings]:
        return self.lines

    def own_figures(self) -> dict[str, Any]:
        return {
            "tokenizers": {line.kind: {**line.kept.values, "samples": len(line.kept.motions)} for line in self.lines},
            "real": {each.name: each.value for each in self.real},
            "modes": {
                each.mode: {
                    **each.report.values,
                    "steps": each.report.moved.steps,
                    "samples": len(each.report.moved.features),
                    "tokens": line.kind,
                    "trained_steps": line.loaded.step,
                    "command": each.measure_command,
                }
                for line in self.lines
                for each in line.modes
            },
            "inbetween": {
                each.of: {
                    "inbetween_linear_mm": each.straight_mm,
                    "inbetween_mm": each.filled_mm,
                    "seconds": each.seconds,
                    "samples": each.samples,
                }
                for each in self.betweens
            },
        }

    def page(self, total_seconds: Callable[[], float]) -> Page:
        labels, held_out = self.loaded.facts.class_names, self.source.samples("val")
        batch = held_out.take(torch.arange(len(held_out)))
        real, actions = _joints(motions_of(batch)), batch["label"].tolist()
        chosen = unlike(actions, [len(motion) for motion in real], self.settings.kept)
        modes = [self._mode(each) for line in self.lines for each in line.modes]
        ways = [line.loaded.paradigm.modes() for line in self.lines]
        made = [line for mode in modes for line in (mode.measure_command, *mode.commands)]
        story = MotionStory(
            fps=self.source.fps or 1.0,
            labels=labels,
            recorded=self.recorded,
            held_labels=[self.source.class_names[actions[place]] for place in chosen],
            held_out=[real[place] for place in chosen],
            coders=[self._coder(line, chosen) for line in self.lines],
            modes=modes,
            real={_of_modes(each): each.value for each in self.real},
            betweens=self.betweens,
            curves=self.curves(),
            masks=mask_pictures({name: each for modes_of in ways for name, each in modes_of.items()}),
            facts=self.facts("motions"),
            total_seconds=total_seconds(),
            commands=[*self.commands, *made],
        )
        return motion_page(story)

    def _coder(self, line: LineFindings, chosen: list[int]) -> MotionCoder:
        path = f"{self.folder / f'{line.prefix}tokenizer'}"
        command = next(each for each in self.commands if each.startswith(f"mmgen evaluate {path}"))
        made = _joints([line.kept.motions[place] for place in chosen])
        return MotionCoder(
            line.kind, made, line.kept.values, len(line.kept.motions), in_words(line.loaded.spec), command
        )

    def _mode(self, each: ModeFindings) -> MotionMode:
        moved = each.report.moved
        return MotionMode(
            each.mode, each.shown, each.report.values, len(moved.features), moved.steps,
            each.commands, each.measure_command,
        )  # fmt: skip


def _of_modes(real: Metric) -> str:
    """The name under which modes have the same figure."""
    return Metric(real.metric.removesuffix("_real"), real.value, real.network).name


def _joints(motions: list[Tensor]) -> list[Tensor]:
    """(D, T) -> (T, J, 3)."""
    return [features_to_joints(motion.mT) for motion in motions]

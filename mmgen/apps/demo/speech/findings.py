"""From what the demo of speech measured to its page and its metrics.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from mmgen.apps.demo.pair_findings import LineFound, PairFindings, in_words
from mmgen.apps.demo.speech.settings import SpeechSettings
from mmgen.modalities.speech.evaluation.generator import Listeners, Sentences, SpeechReport, coded
from mmgen.modalities.speech.evaluation.tokenizer import CodecReport
from mmgen.modalities.speech.page import speech_page
from mmgen.modalities.speech.page.story import Codec, SpeechEdit, SpeechMode, SpeechStory
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.page.collect import mask_pictures
from mmgen.page.page import Page


@dataclass(frozen=True, eq=False)
class ModeFindings:
    """What was found about one way of speaking.

    Args:
        mode: its name.
        report: figures and speech.
        heard: what the recogniser wrote of the sentences that the page shows; empty where there is none.
        command: repeats these.
        measure_command: repeats the figures.
    """

    mode: str
    report: SpeechReport
    heard: list[str]
    command: str
    measure_command: str


@dataclass(frozen=True, eq=False)
class LineFindings(LineFound):
    """What was found about a tokenizer and its generator.

    Args:
        sentences: that it was asked to say.
        kept: of the tokenizer.
        recordings: figures of the recordings of these sentences, by full name.
        modes: of the generator.
    """

    sentences: Sentences
    kept: CodecReport
    recordings: dict[str, float]
    modes: list[ModeFindings]


@dataclass(frozen=True, eq=False)
class SpeechFindings(PairFindings):
    """Everything that was found about speech.

    Args:
        lines: the ways from sounds to tokens and back.
        edits: recordings with other words.
        listeners: who judged.
        missing: why there was no recogniser; empty where there was one.
    """

    coder: ClassVar = "Codec"
    made_from: ClassVar = "spoken by espeak-ng"

    settings: SpeechSettings
    lines: list[LineFindings]
    edits: list[SpeechEdit]
    listeners: Listeners
    missing: str

    @property
    def found(self) -> list[LineFindings]:
        return self.lines

    def own_figures(self) -> dict[str, Any]:
        return {
            "codecs": {line.kind: {**line.kept.values, "samples": len(line.kept.sounds)} for line in self.lines},
            "recordings": {line.kind: line.recordings for line in self.lines},
            "modes": {
                each.mode: {
                    **each.report.values,
                    "steps": each.report.spoken.steps,
                    "samples": len(each.report.spoken.sounds),
                    "tokens": line.kind,
                    "trained_steps": line.loaded.step,
                    "command": each.measure_command,
                }
                for line in self.lines
                for each in line.modes
            },
            "edits": [{"from": each.old, "to": each.new, "heard": each.heard} for each in self.edits],
        }

    def page(self, total_seconds: Callable[[], float]) -> Page:
        first = self.lines[0]
        shown = min(self.settings.shown, len(first.sentences.read))
        real = first.sentences.sounds[:shown]
        names, labels = first.loaded.facts.class_names, first.sentences.labels[:shown].tolist()
        recogniser, ways = self.listeners.recogniser, [line.loaded.paradigm.modes() for line in self.lines]
        rate = require_speech_tokenizer(first.loaded).sample_rate
        modes = [self._mode(each, shown) for line in self.lines for each in line.modes]
        made = [line for mode in modes for line in (mode.measure_command, mode.command)]
        story = SpeechStory(
            sample_rate=rate,
            texts=first.sentences.said[:shown],
            voices=[names[label] if 0 <= label < len(names) else "" for label in labels],
            real=real,
            heard=[] if recogniser is None else recogniser.transcribe(real, rate),
            codecs=[self._codec(line, shown) for line in self.lines],
            modes=modes,
            recordings=[line.recordings for line in self.lines],
            edits=self.edits,
            recogniser=None if recogniser is None else recogniser.name,
            missing=self.missing,
            curves=self.curves(),
            masks=mask_pictures({name: each for modes_of in ways for name, each in modes_of.items()}),
            facts=self.facts("sentences"),
            total_seconds=total_seconds(),
            commands=[*self.commands, *made, *(each.command for each in self.edits)],
        )
        return speech_page(story)

    def _codec(self, line: LineFindings, shown: int) -> Codec:
        tokenizer = require_speech_tokenizer(line.loaded)
        path = f"{self.folder / f'{line.prefix}tokenizer'}"
        command = next(each for each in self.commands if each.startswith(f"mmgen evaluate {path} "))
        return Codec(
            line.kind, coded(tokenizer, line.sentences.sounds[:shown]), line.kept.values, len(line.kept.sounds),
            in_words(tokenizer.spec), command,
        )  # fmt: skip

    def _mode(self, each: ModeFindings, shown: int) -> SpeechMode:
        spoken = each.report.spoken
        return SpeechMode(
            each.mode, spoken.sounds[:shown], each.heard, each.report.values, len(spoken.sounds), spoken.steps,
            each.command, each.measure_command,
        )  # fmt: skip

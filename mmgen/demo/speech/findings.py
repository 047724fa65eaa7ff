"""From what the demo of speech measured to its page and its metrics.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmgen.demo.findings import Findings, parameters
from mmgen.demo.speech.settings import SpeechSettings
from mmgen.evaluation.speech_generator import Listeners, Sentences, SpeechReport, coded
from mmgen.evaluation.speech_tokenizer import CodecReport
from mmgen.gallery.collect import curve, mask_pictures
from mmgen.gallery.page import Page
from mmgen.gallery.speech import speech_page
from mmgen.gallery.speech.story import Codec, SpeechEdit, SpeechMode, SpeechStory
from mmgen.gallery.story import Curve
from mmgen.results import commit, machine
from mmgen.speech import require_speech_tokenizer
from mmgen.store import Loaded, Saved
from mmgen.tokens import TokenSpec

KINDS = {"residual": "residual codes", "continuous": "continuous tokens"}


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
class LineFindings:
    """What was found about a tokenizer and its generator.

    Args:
        prefix: of the names of their folders.
        loaded: the generator.
        sentences: that it was asked to say.
        kept: of the tokenizer.
        recordings: figures of the recordings of these sentences, by full name.
        modes: of the generator.
    """

    prefix: str
    loaded: Loaded
    sentences: Sentences
    kept: CodecReport
    recordings: dict[str, float]
    modes: list[ModeFindings]


@dataclass(frozen=True, eq=False)
class SpeechFindings(Findings):
    """Everything that was found about speech.

    Args:
        lines: the ways from sounds to tokens and back.
        edits: recordings with other words.
        listeners: who judged.
        missing: why there was no recogniser; empty where there was one.
    """

    settings: SpeechSettings
    lines: list[LineFindings]
    edits: list[SpeechEdit]
    listeners: Listeners
    missing: str

    def own_figures(self) -> dict[str, Any]:
        return {
            "codecs": {_kind(line): {**line.kept.values, "samples": len(line.kept.sounds)} for line in self.lines},
            "recordings": {_kind(line): line.recordings for line in self.lines},
            "modes": {
                each.mode: {
                    **each.report.values,
                    "steps": each.report.spoken.steps,
                    "samples": len(each.report.spoken.sounds),
                    "tokens": _kind(line),
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
        names, labels = first.loaded.class_names, first.sentences.labels[:shown].tolist()
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

    def curves(self) -> list[Curve]:
        found = []
        for line in self.lines:
            names = list(line.loaded.paradigm.modes())
            lines = {name: f"train/{name}" for name in names}
            points = {name: f"val/{name}" for name in names}
            title = f"Generator of {_kind(line)}"
            found.append(curve(self.folder / f"{line.prefix}generator", title, "loss a token", lines, points))
        for line in self.lines:
            run = self.folder / f"{line.prefix}tokenizer"
            found.append(
                curve(run, f"Codec of {_kind(line)}", "loss", {"training": "train/loss"}, {"held out": "val/loss"})
            )
        return found

    def facts(self, samples: str) -> dict[str, str]:
        train, held_out = (len(self.source.samples(split)) for split in ("train", "val"))
        told = {"Data": f"{train:,} {samples} to train on, {held_out:,} held out, spoken by espeak-ng"}
        for line in self.lines:
            tokenizer = require_speech_tokenizer(line.loaded)
            steps = Saved.read(self.folder / f"{line.prefix}tokenizer").step
            name = _kind(line)
            told[f"Codec of {name}"] = (
                f"{parameters(tokenizer):,} parameters, {steps:,} steps; {in_words(tokenizer.spec)}"
            )
            told[f"Generator of {name}"] = (
                f"{parameters(line.loaded.generator):,} parameters, {line.loaded.step:,} steps"
            )
        return told | {"Machine": machine(), "Code": f"mmgen at commit {commit()}"}

    def _codec(self, line: LineFindings, shown: int) -> Codec:
        tokenizer = require_speech_tokenizer(line.loaded)
        path = f"{self.folder / f'{line.prefix}tokenizer'}"
        command = next(each for each in self.commands if each.startswith(f"mmgen evaluate {path} "))
        return Codec(
            _kind(line), coded(tokenizer, line.sentences.sounds[:shown]), line.kept.values, len(line.kept.sounds),
            in_words(tokenizer.spec), command,
        )  # fmt: skip

    def _mode(self, each: ModeFindings, shown: int) -> SpeechMode:
        spoken = each.report.spoken
        return SpeechMode(
            each.mode, spoken.sounds[:shown], each.heard, each.report.values, len(spoken.sounds), spoken.steps,
            each.command, each.measure_command,
        )  # fmt: skip


def in_words(spec: TokenSpec) -> str:
    """`50 tokens a second, each of 4 codes out of 256`."""
    what = {
        "residual": f"{spec.levels} codes out of {spec.size:,}",
        "continuous": f"{spec.size} numbers",
        "bits": f"{spec.size} bits",
    }.get(spec.kind, f"one code out of {spec.size:,}")
    return f"{spec.rate or 0:g} tokens a second, each of {what}"


def _kind(line: LineFindings) -> str:
    return KINDS.get(line.loaded.spec.kind, line.loaded.spec.kind)

"""What `mmgen evaluate` measures of speech: of a tokenizer what it keeps, of a generator how well it says sentences of
held-out clips.
"""

from dataclasses import dataclass
from typing import Any

import torch

from mmgen.core.errors import UserError, nearest
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source, open_source
from mmgen.data.sources import Source
from mmgen.evaluation.command import (
    EvaluationCommand,
    ResultRows,
    adaptive,
    metric_rows,
    precision_of,
)
from mmgen.evaluation.reference import Reference
from mmgen.modalities.speech.editing import INFILL
from mmgen.modalities.speech.evaluation.edits import EDITS, measure_edits
from mmgen.modalities.speech.evaluation.generator import Listeners, Sentences, measure_recordings, measure_speech
from mmgen.modalities.speech.evaluation.recogniser import Recogniser, get_recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import require_speech_metrics
from mmgen.modalities.speech.evaluation.similarity import Resemblyzer
from mmgen.modalities.speech.evaluation.tokenizer import measure_speech_tokenizer
from mmgen.modalities.speech.held_out import at_rate, of_known_voices, whole_recordings
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import settings
from mmgen.sampling.samples import check_request, pick_mode
from mmgen.store.store import Loaded, Saved

SOUNDS = "float32 sounds"

LISTENERS = ("recogniser", "similarity", "naturalness")


SENTENCES, SENTENCES_AT_ONCE = 100, 16
"""How many samples a mode draws, and how many are in memory together, by default."""


@dataclass(frozen=True)
class SpeechEvaluation(EvaluationCommand):
    """One call of the command, on speech."""

    def tokenizer(self, saved: Saved, tokenizer: AudioTokenizer) -> tuple[ResultRows, Reference]:
        """What a tokenizer keeps of held-out speech.

        Raises:
            UserError: as the parts do, before anything is measured.
        """
        if self.arguments["recogniser"] is not None and not self.arguments["wer"]:
            raise UserError("--recogniser is for --wer at a tokenizer; add it, or leave both out")
        require_speech_metrics()
        source = self._source(saved, tokenizer, whole=self.arguments["wer"])
        reference = Reference.held_out(source, self._count())
        recogniser = self._recogniser() if self.arguments["wer"] else None
        if recogniser is not None:
            reference.texts(torch.arange(min(1, len(reference))))
        batch = self.given("batch", SENTENCES_AT_ONCE)
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_speech_tokenizer(tokenizer, reference, recogniser, batch, progress)
        common = {"samples": len(reference), "seed": None, "steps": None}
        return metric_rows(report.figures, reference, common, precision_of(tokenizer), SOUNDS), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[ResultRows, Reference]:
        """Sentences of held-out clips said by a generator in each of its modes, or in the chosen one.

        Raises:
            UserError: as the parts do, before anything is said.
        """
        self.reject_options("for tokenizers, and of a generator it is always measured", "wer")
        mode, seed, batch = self.arguments["mode"], self.arguments["seed"], self.given("batch", SENTENCES_AT_ONCE)
        source = self._source(saved, require_speech_tokenizer(loaded), whole=True)
        modes = list(loaded.paradigm.modes()) if mode is None else [mode]
        for each in modes:
            pick_mode(loaded, each)
        reference = Reference.held_out(source)
        reference.samples = of_known_voices(reference.samples, loaded.generator.classes, self._count() or SENTENCES)
        sentences = Sentences.of(loaded, source, reference, batch)
        check_request(loaded, sentences.labels, options, batch)
        listeners = self._listeners()
        listeners.require()
        common: dict[str, Any] = {"samples": len(reference), "seed": None, "steps": None}
        precision, said = precision_of(loaded.generator), {"voices": sentences.voices or "not told"}
        recorded = measure_recordings(loaded, sentences, listeners, batch)
        rows = metric_rows(recorded, reference, common, precision, SOUNDS, **said)
        for each in modes:
            with progress_bar(f"speaking: {each}", len(reference)) as progress:
                report = measure_speech(loaded, each, sentences, listeners, options, seed, batch, progress)
            steps = None if adaptive(options) else report.spoken.steps
            how = common | {"seed": seed, "steps": steps, "mode": each, "settings": settings(self.arguments)}
            figures = report.figures
            if each == INFILL:
                texts = source.samples("val").texts(torch.arange(len(source.samples("val"))))
                with progress_bar("editing", EDITS) as progress:
                    figures += measure_edits(loaded, each, sentences, texts, listeners, options, seed, None, progress)
            rows += metric_rows(figures, reference, how, precision, SOUNDS, **said)
        return rows, reference

    def _source(self, saved: Saved, tokenizer: AudioTokenizer, whole: bool) -> Source:
        """The recordings, whole where that can be and at the tokenizer's rate."""
        data = self.arguments["data"]
        source = build_source(saved.config) if data is None else open_source(data)
        if source.sample_rate is None:
            raise UserError(f"{saved.path} is of speech, and the data has samples of shape {source.sample_shape}")
        source = at_rate(source, tokenizer.sample_rate)
        try:
            return whole_recordings(source, tokenizer.sample_rate)
        except UserError:
            if whole:
                raise
            return source

    def _count(self) -> int | None:
        """How many clips. Raises UserError for none."""
        count = self.arguments["num"]
        if count is not None and count < 1:
            raise UserError(f"at least one sentence is needed, got --num {count}")
        return count

    def _listeners(self) -> Listeners:
        named = [name.strip() for name in self.arguments["listeners"].split(",")]
        if unknown := [name for name in named if name not in LISTENERS]:
            raise UserError(
                f"--listeners {unknown[0]!r} is none of {', '.join(LISTENERS)}{nearest(unknown[0], LISTENERS)}"
            )
        recogniser, similarity, naturalness = (name in named for name in LISTENERS)
        return Listeners(
            self._recogniser() if recogniser else None, Resemblyzer() if similarity else None, naturalness=naturalness
        )

    def _recogniser(self) -> Recogniser:
        return get_recogniser(self.arguments["recogniser"], self.device)

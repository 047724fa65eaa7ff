"""What `mmgen evaluate` measures of speech: a tokenizer's reconstructions, and how well a generator says the sentences
of held-out clips.
"""

from dataclasses import dataclass

import torch

from mmgen.core.errors import UserError, nearest
from mmgen.core.progress import progress_bar
from mmgen.data.sources import Source
from mmgen.evaluation.command import EvaluationCommand, ModeSampling, Rows, metric_rows
from mmgen.evaluation.reference import Reference
from mmgen.modalities.speech.editing import INFILL
from mmgen.modalities.speech.evaluation.edits import EDITS, measure_edits
from mmgen.modalities.speech.evaluation.generator import Sentences, measure_recordings, measure_speech
from mmgen.modalities.speech.evaluation.listeners import Listeners, Resemblyzer, require_dnsmos
from mmgen.modalities.speech.evaluation.recogniser import Recogniser, get_recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import require_speech_metrics
from mmgen.modalities.speech.evaluation.tokenizer import measure_speech_tokenizer
from mmgen.modalities.speech.held_out import at_rate, of_known_voices, whole_recordings
from mmgen.modalities.speech.sampling import require_speech_tokenizer
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.store.store import Loaded, Saved

LISTENERS = ("recogniser", "similarity", "naturalness")


@dataclass(frozen=True)
class SpeechEvaluation(EvaluationCommand):
    """One call of the command, on speech."""

    measured = "float32 sounds"

    def tokenizer(self, saved: Saved, tokenizer: AudioTokenizer) -> tuple[Rows, Reference]:
        words = self.arguments["wer"]
        if self.arguments["recogniser"] is not None and not words:
            raise UserError("--recogniser is for --wer at a tokenizer; add it, or leave both out")
        require_speech_metrics()
        reference = Reference.held_out(self._source(saved, tokenizer, whole=words), self.num(1))
        recogniser = self._recogniser() if words else None
        if recogniser is not None:
            reference.texts(torch.arange(min(1, len(reference))))
        with progress_bar("reconstructing", len(reference)) as progress:
            report = measure_speech_tokenizer(tokenizer, reference, recogniser, self.batch, progress)
        return self.rows(report.metrics, reference, tokenizer, len(reference)), reference

    def generator(self, saved: Saved, loaded: Loaded, options: SampleOptions) -> tuple[Rows, Reference]:
        self.reject_options("for tokenizers, and of a generator it is always measured", "wer")
        source, modes = self._source(saved, require_speech_tokenizer(loaded), whole=True), self.modes(loaded)
        count, held_out = self.num(1) or self.default_num, source.samples("val")
        reference = Reference.held_out(source, of_known_voices(held_out, len(loaded.generator.names("class")), count))
        sentences = Sentences.of(loaded, source, reference, self.batch)
        for mode in modes:  # its errors come before the work
            ModeSampling(loaded, mode, options, self.seed, self.batch).task(sentences.conditions(loaded))
        listeners, size = self._listeners(), len(reference)
        how = {"voices": sentences.voices or "not told"}
        recorded = measure_recordings(loaded, sentences, listeners, self.batch)
        rows = metric_rows(recorded, reference, loaded.generator, self.measured, how, samples=size)
        for mode in modes:
            with self.sampling("speaking", size, loaded, mode, options) as sampling:
                report = measure_speech(sampling, sentences, listeners)
            if mode == INFILL:
                texts = held_out.texts(torch.arange(len(held_out)))
                with self.sampling("editing", EDITS, loaded, mode, options) as sampling:
                    report.metrics.extend(measure_edits(sampling, sentences, texts, listeners))
            rows += self.mode_rows(sampling, report, reference, size, **how)
        return rows, reference

    def _source(self, saved: Saved, tokenizer: AudioTokenizer, whole: bool) -> Source:
        """The recordings, whole where that can be and at the tokenizer's rate."""
        source = self.source(saved)
        if source.sample_rate is None:
            raise UserError(f"{saved.path} is of speech, and the data has samples of shape {source.sample_shape}")
        source = at_rate(source, tokenizer.sample_rate)
        try:
            return whole_recordings(source, tokenizer.sample_rate)
        except UserError:
            if whole:
                raise
            return source

    def _listeners(self) -> Listeners:
        names = [name.strip() for name in self.arguments["listeners"].split(",")]
        if unknown := [name for name in names if name not in LISTENERS]:
            raise UserError(
                f"--listeners {unknown[0]!r} is none of {', '.join(LISTENERS)}{nearest(unknown[0], LISTENERS)}"
            )
        recogniser, similarity, naturalness = (name in names for name in LISTENERS)
        if naturalness:
            require_dnsmos()
        return Listeners(self._recogniser() if recogniser else None, Resemblyzer() if similarity else None, naturalness)

    def _recogniser(self) -> Recogniser:
        return get_recogniser(self.arguments["recogniser"], self.device)


COMMAND = SpeechEvaluation

"""A tokenizer of speech and a generator of its tokens: what they are to say, and how long that takes."""

import time
from typing import Any

from mmgen.apps.demo.line import Line
from mmgen.data.build import changed, open_source
from mmgen.data.sources import Source
from mmgen.modalities.speech.editing import INFILL
from mmgen.modalities.speech.evaluation.generator import Listeners, Sentences
from mmgen.modalities.speech.evaluation.rows import of_known_voices
from mmgen.modalities.speech.sampling import sample_speech
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import sample_options
from mmgen.store.store import Loaded


class SpeechLine(Line):
    """One of several ways to tokens of speech.

    Attributes:
        sampling: mode -> options of `mmgen sample`.
        listeners: who judge what is said.
    """

    sampling: dict[str, dict[str, Any]]
    listeners: Listeners

    def options(self, mode: str) -> SampleOptions:
        """How a mode is sampled."""
        return sample_options(self.sampling.get(mode, {}))

    def whole(self) -> Source:
        """The recordings with their texts, of which the generator's tokens are made, whole."""
        data = self._data_of_tokens()
        return changed(open_source(str(self._path("tokenizer") if data is None else data)), crop=None)

    def sentences(self, loaded: Loaded, count: int) -> Sentences:
        """The first held-out sentences, as far as the generator knows their voices."""
        source = self.whole()
        samples = of_known_voices(source.samples("val"), loaded.generator.classes, count)
        return Sentences.of(loaded, source, samples)

    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        sentences = self.sentences(loaded, count)
        started = time.perf_counter()
        for mode in speaking_modes(loaded):
            spoken = sample_speech(loaded, mode, sentences.read, sentences.labels, self.options(mode))
            if self.listeners.recogniser is not None:
                self.listeners.recogniser.transcribe(spoken.sounds, spoken.sample_rate)
        return (time.perf_counter() - started) / len(sentences.read), 0.0


def speaking_modes(loaded: Loaded) -> list[str]:
    """The modes that say a sentence from nothing."""
    return [mode for mode in loaded.paradigm.modes() if mode != INFILL]

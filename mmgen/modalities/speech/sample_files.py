"""What `mmgen sample` does for a run that makes speech."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.data.build import trained_source
from mmgen.media.audio import open_sound, write_wav
from mmgen.media.images import save_png
from mmgen.media.spectrogram import spectrogram_sheet
from mmgen.modalities.speech.evaluation.generator import Sentences
from mmgen.modalities.speech.evaluation.recogniser import get_recogniser
from mmgen.modalities.speech.held_out import of_known_voices, whole_recordings
from mmgen.modalities.speech.sampling import (
    Prompt,
    SpeechSamples,
    require_speech_tokenizer,
    sample_speech,
    with_prompts,
)
from mmgen.sampling.command import SamplingCommand
from mmgen.sampling.samples import check_count, text_condition
from mmgen.store.store import Loaded

HELD_OUT = "held_out"
_WITHOUT_TEXT = 8  # samples of a generator that reads no text


class SpeechSampling(SamplingCommand):
    """Speech: a WAV each, and their spectrograms in grid.png."""

    modality = "speech"
    digits = 3
    samples: SpeechSamples

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        super().__init__(loaded, arguments)
        self.sample_rate = require_speech_tokenizer(loaded).sample_rate
        self.sentences = self._held_out() if arguments["text"] == [HELD_OUT] else None
        self.recogniser = get_recogniser(device=str(loaded.generator.device)) if arguments["judge"] else None
        self.texts = self.texts_in_turn(_WITHOUT_TEXT) if self.sentences is None else self.sentences.texts
        frames, seconds = None, arguments["seconds"]
        if seconds is not None and (frames := round(seconds * self.sample_rate)) < 1:
            raise UserError(f"--seconds must be above 0, got {seconds:g}")
        labels = None if self.sentences is None else self.sentences.labels
        self.task = self.make_task(len(self.texts), self.texts, labels, frames=frames)
        self.prompts = self._prompts(arguments["prompt"], arguments["prompt_text"])
        with_prompts(self.task, self.prompts)  # its errors come before the work

    def _held_out(self) -> Sentences:
        """Sentences of the run's data that it was not trained on."""
        loaded = self.loaded
        source = trained_source(loaded.config, loaded.facts.to_dict(), str(loaded.path))
        source = whole_recordings(source, self.sample_rate)
        count = 8 if self.arguments["num"] is None else self.arguments["num"]
        check_count(count, count)
        samples = of_known_voices(source.samples("val"), len(self.loaded.generator.names("class")), count)
        return Sentences.of(self.loaded, source, samples)

    def _prompts(self, path: str | None, text: str | None) -> list[Prompt]:
        if path is None:
            if text is not None:
                raise UserError("--prompt_text needs --prompt: the recording in which that is said")
            return []
        reads = text_condition(self.loaded) is not None
        if reads and text is None:
            raise UserError("--prompt needs --prompt_text: what is said in it, all of it")
        if not reads and text is not None:
            raise UserError(f"{self.loaded.path} was trained without text: leave --prompt_text out")
        return [Prompt(open_sound(path, self.sample_rate), text or "")]

    def sample(self) -> SpeechSamples:
        return sample_speech(self.task, self.prompts)

    def write(self, folder: Path) -> dict[str, Any]:
        samples, rate = self.samples, self.sample_rate
        recordings = [] if self.sentences is None else self.sentences.sounds
        for suffix, sounds in ((".wav", samples.sounds), (".real.wav", recordings)):
            for number, sound in enumerate(sounds):
                write_wav(sound, self.file(folder, number, suffix), rate)
        titles = [text or f"sample {number}" for number, text in enumerate(self.texts)]
        save_png(spectrogram_sheet([sound[None] for sound in samples.sounds], rate, titles), folder / "grid.png")
        tensors = {"tokens": samples.tokens, "lengths": samples.lengths, "labels": self.labels}
        save_file(tensors, folder / "samples.safetensors")
        judged = {}
        if self.recogniser is not None:
            transcripts = self.recogniser.transcribe(samples.sounds, rate)
            judged = {"transcripts": transcripts, "judge": self.recogniser.name}
        return {
            "samples": self.task.count,
            "texts": self.texts,
            **judged,
            "voices": self.class_names(),
            "sample_rate": rate,
            "spoken_seconds": [round(len(sound) / rate, 3) for sound in samples.sounds],
            "prompt_seconds": round(self.prompts[0].sound.shape[-1] / rate, 3) if self.prompts else None,
            **samples.record(),
            "real_time_factor": round(samples.seconds / samples.spoken_seconds, 5),
        }


COMMAND = SpeechSampling

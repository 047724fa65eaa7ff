"""What a person asks for, within limits that one machine and one page can bear."""

from dataclasses import dataclass
from typing import Any

from mmgen.core.errors import UserError, require
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.sampling.samples import SamplingTask, class_labels, text_values
from mmgen.store.store import Loaded

MOST_SAMPLES = 16
MOST_TEXT = 400  # characters
MOST_STEPS = 1000
MOST_FRAMES = 512
MOST_GUIDANCE = 20.0
MOST_TEMPERATURE = 5.0
LARGEST_SEED = 2**31 - 1

EACH_IN_TURN = "each in turn"


@dataclass(frozen=True)
class SamplingRequest:
    """One click on "Sample".

    Args:
        mode: one of those that the checkpoint was trained for; may be None where it has only one.
        class_: a class's name or number, `none`, or None for all in turn. Of speech it is a voice.
        text: what is said, by a generator that reads texts.
        count: samples, 1 to 16.
        seed: with the sample's number, the key of all its randomness.
        steps: of the network, 1 to 1000; the mode's own where None.
        guidance: scale, 0 to 20; 1 is the plain conditional model.
        temperature: 0 to 5; 0 takes the most probable choice.
        frames: of clips, 1 to 512; those of training where None.

    Raises:
        UserError: one of them is out of its range, or of another type: they may come from anywhere.
    """

    mode: str | None = None
    class_: str | None = None
    text: str = ""
    count: int = 1
    seed: int = 0
    steps: int | None = None
    guidance: float = 1.0
    temperature: float = 1.0
    frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "seed", "steps", "frames"):  # a browser knows one kind of number
            value: Any = getattr(self, name)
            if isinstance(value, float) and value.is_integer():
                object.__setattr__(self, name, int(value))
        _within("samples", self.count, 1, MOST_SAMPLES, whole=True)
        _within("seed", self.seed, 0, LARGEST_SEED, whole=True)
        _within("steps", self.steps, 1, MOST_STEPS, optional=True, whole=True)
        _within("guidance", self.guidance, 0, MOST_GUIDANCE)
        _within("temperature", self.temperature, 0, MOST_TEMPERATURE)
        _within("frames", self.frames, 1, MOST_FRAMES, optional=True, whole=True)
        for name in ("mode", "class_", "text"):
            value = getattr(self, name)
            fine = isinstance(value, str) or (value is None and name != "text")
            require(fine, f"{name.rstrip('_')} must be a text, got {value!r:.40}")
        if len(self.text) > MOST_TEXT:
            raise UserError(f"the text has {len(self.text)} characters, and at most {MOST_TEXT} are taken: shorten it")

    def task(self, loaded: Loaded, needs_text: bool = False, **more: Any) -> SamplingTask:
        """The samples of one batch; `more` are further arguments of `SamplingTask`. A generator that reads texts gets
        an empty one only where it `needs_text`. Raises UserError where the run cannot make them.
        """
        names = [] if self.class_ in (None, EACH_IN_TURN) else [str(self.class_)]
        texts = text_values(loaded, [self.text] * self.count) if self.text or needs_text else {}
        conditions = texts | {"class": class_labels(names, self.count, loaded)}
        options = SampleOptions(self.steps, Guidance(self.guidance), Decoding(temperature=self.temperature))
        return SamplingTask(loaded, self.mode, conditions, options, self.seed, batch=self.count, **more)


def _within(name: str, value: Any, least: float, most: float, optional: bool = False, whole: bool = False) -> None:
    if value is None and optional:
        return
    kind = "a whole number" if whole else "a number"
    fine = value is None or (isinstance(value, int if whole else int | float) and not isinstance(value, bool))
    require(fine, f"{name} must be {kind}, got {value!r:.40}")
    if value is None or not least <= value <= most:  # NaN is refused too
        got = "nothing" if value is None else "far more" if abs(value) > 1e18 else f"{value:.10g}"
        raise UserError(f"{name} must lie between {least:g} and {most:.10g}, got {got}")

"""From what a person asks for to what is shown, one partial result after the other, for every modality.

A modality is an entry of `MODALITIES`, and a file with the function that it names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mmgen.core.errors import UserError
from mmgen.modalities.image.live import show_images
from mmgen.modalities.motion.live import show_motions
from mmgen.modalities.speech.live import show_speech
from mmgen.modalities.video.live import show_clips
from mmgen.sampling.preview import Shown
from mmgen.sampling.request import Asked
from mmgen.store.store import Loaded

EVERY = 0.1
"""Seconds between two pictures, at least."""


@dataclass(frozen=True)
class Modality:
    """How samples of one kind are made and shown.

    Args:
        makes: what they are called, in the plural.
        show: as `show`, below.
        count: how many the page asks for at first.
        classes: what its classes are called, one of them.
        frames: whether a person may choose how many frames there are.
    """

    makes: str
    show: Callable[[Loaded, Asked, float], Iterator[Shown]]
    count: int
    classes: str = "class"
    frames: bool = False


MODALITIES = {
    "image": Modality("images", show_images, count=16),
    "video": Modality("clips", show_clips, count=4, frames=True),
    "audio": Modality("speech", show_speech, count=1, classes="voice"),
    "motion": Modality("motions", show_motions, count=4, frames=True),
}
"""Modality of a run's tokens -> how they are shown."""


def modality_of(loaded: Loaded) -> Modality:
    """Of a run. Raises UserError where its samples cannot be shown."""
    kind = loaded.spec.modality
    if kind not in MODALITIES:
        raise UserError(f"{loaded.path} makes {kind}s, which this page cannot show; mmgen sample writes them to files")
    return MODALITIES[kind]


def show(loaded: Loaded, asked: Asked, every: float = EVERY) -> Iterator[Shown]:
    """Samples while they are made: partial results in order, and the finished ones last.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        asked: what a person asks for.
        every: seconds between two pictures at least; 0 shows every step. It changes no sample.

    Raises:
        UserError: what is asked for cannot be done with this run.
    """
    if asked.text and loaded.generator.text is None:
        raise UserError(f"{loaded.path} was trained without texts, so it cannot speak any")
    yield from modality_of(loaded).show(loaded, asked, every)

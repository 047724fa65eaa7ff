"""A partial result: what a person sees or hears of samples that are still being made."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmgen.paradigms import State


@dataclass(frozen=True, eq=False)
class Shown:
    """What there is at one moment.

    Args:
        caption: what is going on, in a line.
        progress: 0 to 1, how much of the tokens is final.
        state: of the sampler; None as long as there is none.
        last: nothing follows.
        pictures: images (C, H, W) in [-1, 1], the largest thing first; of speech a spectrogram for each sound.
        clip: (C, T, H, W) in [-1, 1] that is played again and again; None for none.
        fps: of the clip, frames a second.
        sounds: (T,) in [-1, 1] each, as far as they are finished. What was shown of a sound never changes, but its end
            may go where it is silent.
        sample_rate: of the sounds, in Hz.
        told: what each sound is.
        sharp: pixels are to be seen as squares.
    """

    caption: str
    progress: float
    state: State | None = None
    last: bool = False
    pictures: Sequence[Tensor] = ()
    clip: Tensor | None = None
    fps: float = 0.0
    sounds: Sequence[Tensor] = ()
    sample_rate: int = 0
    told: Sequence[str] = ()
    sharp: bool = True

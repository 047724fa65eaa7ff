"""A preview: what a person sees or hears of samples, finished or still being made."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmgen.paradigms import State


@dataclass(frozen=True, eq=False)
class Preview:
    """Samples as pictures, a clip or sounds.

    Args:
        caption: what is going on, in a line; in training the mode, or `reconstruction`.
        progress: 0 to 1, how much of the tokens is final.
        state: of the sampler; None as long as there is none.
        last: nothing follows.
        pictures: images (C, H, W) in [-1, 1], the largest thing first; where there are sounds a spectrogram for each.
        clip: (C, T, H, W) in [-1, 1] that is played again and again; None for none.
        fps: of the clip, frames a second.
        sounds: (T,) in [-1, 1] each, as far as they are finished. What has been handed out of a sound never
            changes, but its end may go where it is silent.
        sample_rate: of the sounds, in Hz.
        sound_titles: what each sound is.
        sharp: pixels are to be seen as squares.
    """

    caption: str
    progress: float = 1.0
    state: State | None = None
    last: bool = False
    pictures: Sequence[Tensor] = ()
    clip: Tensor | None = None
    fps: float = 0.0
    sounds: Sequence[Tensor] = ()
    sample_rate: int = 0
    sound_titles: Sequence[str] = ()
    sharp: bool = True

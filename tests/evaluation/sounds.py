"""Sounds to measure: something like speech, and what may become of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.data.sources import Batch, Samples

RATE = 8000


def babble(count: int = 3, seconds: float = 1.6, rate: int = RATE, seed: int = 0) -> list[Tensor]:
    """(T,) each: syllables of a voice, harmonics of a gliding pitch under noise-like envelopes, with pauses between."""
    draws = Draws(seed, torch.arange(count))
    time = torch.arange(round(seconds * rate)) / rate
    pitch = 100 + 80 * draws.uniform("pitch").float()
    weights = draws.uniform("formants", 12).float()
    syllables = (2 * torch.pi * 4 * time).sin().clamp(min=0) * (time % 0.7 < 0.6)
    sounds = []
    for row in range(count):
        phase = 2 * torch.pi * (pitch[row] * time + 5 * (2 * torch.pi * 1.5 * time).sin())
        voice = sum(weights[row, k] * ((k + 1) * phase).sin() for k in range(12))
        assert isinstance(voice, Tensor)
        sounds.append(0.5 * syllables * voice / voice.abs().max())
    return sounds


def noisy(sound: Tensor, strength: float) -> Tensor:
    noise = Draws(7, torch.arange(1)).normal("noise", len(sound))[0].float()
    return (sound + strength * noise).clamp(-1, 1)


class Recordings(Samples):
    """Sounds in memory, filled up with silence, and what is said in them."""

    def __init__(self, sounds: Sequence[Tensor], texts: Sequence[str] | None = None, room: int = 0) -> None:
        self.sounds, self.said, self.room = list(sounds), texts, room

    def __len__(self) -> int:
        return len(self.sounds)

    def take(self, index: Tensor) -> Batch:
        chosen = [self.sounds[place] for place in index.tolist()]
        longest = max(map(len, self.sounds)) + self.room
        x = torch.stack([torch.nn.functional.pad(sound, (0, longest - len(sound))) for sound in chosen])[:, None]
        lengths = torch.tensor([len(sound) for sound in chosen])
        return {"x": x, "length": lengths, "label": torch.full_like(index, -1), "sample": index}

    def texts(self, index: Tensor) -> list[str]:
        return super().texts(index) if self.said is None else [self.said[place] for place in index.tolist()]


class Parrot:
    """A recogniser that knows each sound by its loudness: what is said grows with it, a word a tenth."""

    name = "parrot"

    def __init__(self) -> None:
        self.protocol = {"recogniser": "a parrot"}

    def transcribe(self, sounds: Sequence[Tensor], sample_rate: int) -> list[str]:
        return [" ".join(["word"] * round(10 * float(sound.abs().max()))) for sound in sounds]

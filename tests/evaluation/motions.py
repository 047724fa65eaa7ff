"""Walks to measure, slow and fast, straight and turning, with captions; and a run folder of a generator of them."""

from pathlib import Path

import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.modalities.motion.features import feature_slices, joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D
from tests.modalities.motion.gait import walk
from tests.motion_runs import motion_run

FPS, FRAMES = 20.0, 24
NAMES = ["slow", "fast"]
TURNS = {"left": 0.6, "ahead": 0.0, "right": -0.6}
TEXT = Text(" abcdefghijklmnopqrstuvwxyz", 40)
DATA = {"init_args": {"source": {"class_path": "Moves"}}}


class Moves(Source):
    """24 walks to learn from and 12 held out; every third is shorter, and stands still at its end."""

    bounded, more, fps, sample_shape = False, {"skeleton": HUMANML3D.name}, FPS, (HUMANML3D.features, FRAMES)

    def __init__(self, classes: bool = True, texts: bool = True) -> None:
        self.class_names, self.text = NAMES if classes else [], TEXT if texts else None
        self._splits: dict[str, Walks] = {"train": Walks(range(24), self), "val": Walks(range(24, 36), self)}

    def statistics(self) -> tuple[Tensor, Tensor]:
        x = self._splits["train"].x
        mean, std = x.mean((0, 2)), x.std((0, 2))
        for group in feature_slices(len(std)).values():
            std[group] = std[group].mean()
        return mean, std

    def samples(self, split: SplitName) -> Samples:
        return self._splits[split]


class Walks(Samples):
    """Walk i is fast where i is odd, and turns left, right or not at all; no two are alike."""

    def __init__(self, numbers: range, source: Moves) -> None:
        self.numbers, self.source = torch.tensor(numbers), source
        uniform = Draws(0, self.numbers).uniform("walk", 2)
        self.sentences, walks = [], []
        for number, (faster, bend) in zip(numbers, uniform.tolist()):
            fast, (way, turn) = number % 2, list(TURNS.items())[number // 2 % 3]
            joints = walk(HUMANML3D, FRAMES + 1, FPS, 0.3 + 0.6 * fast + 0.1 * faster, turn + 0.2 * bend - 0.1)
            walks.append(joints_to_features(joints).mT)
            self.sentences.append(f"a person walks {way} at a {'brisk' if fast else 'leisurely'} pace")
        self.length = torch.tensor([FRAMES - 8 * (number % 3 == 2) for number in numbers])
        self.x = torch.stack(walks)
        velocities = feature_slices(HUMANML3D.features)["velocities"]
        for x, length in zip(self.x, self.length.tolist()):
            x[:, length:] = x[:, length - 1 : length]
            x[:3, length:] = x[velocities, length:] = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Tensor) -> Batch:
        label = self.numbers[index] % 2 if self.source.classes else torch.full_like(index, -1)
        batch = {"x": self.x[index], "length": self.length[index], "label": label, "sample": self.numbers[index]}
        text = self.source.text
        return batch if text is None else batch | {"text": text.encode_all([self.sentences[i] for i in index.tolist()])}


def noisy(motion: Tensor, strength: float = 0.03) -> Tensor:
    """A motion (D, T) whose joints tremble, by so many metres."""
    noise = Draws(5, torch.arange(1)).normal("noise", *motion.shape)[0].float()
    positions = feature_slices(len(motion))["positions"]
    trembling = motion.clone()
    trembling[positions] += strength * noise[positions]
    return trembling


def moves_run(folder: Path, tokenizer: Path, classes: int = len(NAMES), text: Text | None = TEXT) -> Path:
    """A generator of one narrow block that moves as `Moves` do."""
    return motion_run(folder, tokenizer, class_names=NAMES[:classes], text=text, frames=FRAMES, data=DATA)

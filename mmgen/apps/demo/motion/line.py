"""A tokenizer of motions and a generator of its tokens, and how long it takes to move."""

import time
from typing import Any

import torch
from torch import Tensor

from mmgen.apps.demo.line import Line
from mmgen.data.build import open_source
from mmgen.data.sources import Source
from mmgen.modalities.motion.sampling import sample_motion
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import class_labels
from mmgen.store.store import Loaded


class MotionLine(Line):
    """One of several ways to tokens of motions.

    Attributes:
        sampling: mode -> options of `mmgen sample`.
    """

    sampling: dict[str, dict[str, Any]]

    def options(self, mode: str) -> SampleOptions:
        """How a mode is sampled."""
        return sample_options(self.sampling.get(mode, {}))

    def whole(self) -> Source:
        """The real motions, of which the generator's tokens are made."""
        data = self._data_of_tokens()
        return open_source(str(self._path("tokenizer") if data is None else data))

    def draw(self, loaded: Loaded, mode: str, count: int) -> list[Tensor]:
        """Joints (T, J, 3) of what `mmgen sample --num COUNT` draws: the actions take turns."""
        return sample_motion(loaded, mode, class_labels([], count, loaded), options=self.options(mode)).joints

    def draw_as_long(self, loaded: Loaded, mode: str, label: int, frames: int) -> Tensor:
        """Joints (frames, J, 3) of what `mmgen sample --class LABEL --frames FRAMES --num 1` draws."""
        lengths = torch.tensor([frames])
        return sample_motion(loaded, mode, torch.tensor([label]), options=self.options(mode), lengths=lengths).joints[0]

    def sampling_seconds(self, loaded: Loaded, count: int) -> tuple[float, float]:
        started = time.perf_counter()
        for mode in loaded.paradigm.modes():
            self.draw(loaded, mode, count)
        sample = (time.perf_counter() - started) / count
        return sample, sample * max(1, loaded.generator.classes)  # the page shows one of each action

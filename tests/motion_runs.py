"""Walks as data, and a run folder of a tokenizer of them made by hand, as `mmgen fit` leaves it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.vocabulary import Names, Vocabulary
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.modalities.motion.features import feature_slices, joints_to_features
from mmgen.modalities.motion.skeleton import HUMANML3D, Skeleton, skeleton_of_features
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.store.rebuild import build_tokenizer
from tests.data_modules import data_section
from tests.modalities.motion.gait import walk
from tests.spoken_runs import CONTINUOUS as CONTINUOUS
from tests.spoken_runs import PARADIGM as SPOKEN
from tests.spoken_runs import QUANTIZER as RESIDUAL
from tests.tiny_runs import ending, scramble, timed_run, write_tokenizer

PARADIGM = {
    "class_path": "mmgen.paradigms.Mixture",
    "init_args": {"members": {name: SPOKEN["init_args"]["members"][name] for name in ("ar", "masked")}},
}


class Walks(Source):
    """Walks that differ by speed and turn; every third is shorter, and stands still at its end."""

    bounded = False

    def __init__(
        self, count: int = 12, frames: int = 16, skeleton: Skeleton = HUMANML3D, fps: float = 20.0, scale: float = 1.0
    ) -> None:
        self.more, self.fps, self.class_names = {"skeleton": skeleton.name}, fps, ["slow", "fast"]
        walks = [walk(skeleton, frames + 1, fps, 0.5 + n / count / 2, (n % 5 - 2) / 4) for n in range(count)]
        self.x = scale * torch.stack([joints_to_features(joints).mT for joints in walks])
        self.sample_shape = tuple(self.x.shape[1:])
        self.length = torch.tensor([frames - 5 * (n % 3 == 2) for n in range(count)])

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        mean, std = self.x.mean((0, 2)), self.x.std((0, 2))
        for group in feature_slices(len(std)).values():
            std[group] = std[group].mean()
        return mean, std

    def samples(self, split: SplitName) -> Samples:
        return _WalkSamples(self)


class _WalkSamples(Samples):
    def __init__(self, source: Walks) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source.x)

    def take(self, index: Tensor) -> Batch:
        label = (2 * index >= len(self)).long()
        return {"x": self.source.x[index], "label": label, "sample": index, "length": self.source.length[index]}


def motion_tokenizer_run(
    folder: Path, quantizer: dict[str, Any] = RESIDUAL, dims: int = HUMANML3D.features, causal: bool = False
) -> Path:
    """A tokenizer of walks, 5 tokens a second of two codes each."""
    sizes = {"frames": 12, "width": 8, "dilations": [3, 1]}
    tokenizer = {
        "class_path": "mmgen.modalities.motion.tokenizers.motion.MotionTokenizer",
        "init_args": {"quantizer": quantizer, "dims": dims, "causal": causal, **sizes},
    }
    module = scramble(build_tokenizer({"tokenizer": tokenizer}, "tests"))
    assert isinstance(module, MotionTokenizer)
    walks = Walks(skeleton=skeleton_of_features(dims))
    module.adapt(walks)
    module.train()(walks.x)  # fills the codebooks
    return write_tokenizer(folder, tokenizer, module)


def motion_run(
    folder: Path,
    tokenizer: Path,
    paradigm: dict[str, Any] = PARADIGM,
    ends: bool = False,
    class_names: Sequence[str] = ("calm", "quick"),
    text: Text | None = None,
    frames: int = 12,
    data: dict[str, Any] | None = None,
) -> Path:
    """A generator of one narrow block that moves; with `ends`, paradigms over codebooks model where it ends."""
    conditions: dict[str, Vocabulary] = {"class": Names(tuple(class_names))} if class_names else {}
    conditions |= {} if text is None else {"text": text}
    data = data or data_section("Mocap", frames=frames, tokenizer=str(tokenizer))
    facts = {"fps": 20.0, "more": {"skeleton": HUMANML3D.name}}
    return timed_run(folder, tokenizer, frames, conditions, ending(paradigm) if ends else paradigm, data, **facts)

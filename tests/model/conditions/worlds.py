"""A generator for each way in which a condition can enter."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FrameNames, Names, Vectors, Vocabulary
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import (
    Actions,
    Characters,
    ClassLabel,
    ConditionFactory,
    Speaker,
    build_conditions,
)
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive, Paradigm

GRID = (4, 1, 2)
SPEC = TokenSpec("categorical", 16, GRID, rate=10.0)
VOCABULARIES: dict[str, Vocabulary] = {
    "class": Names(("a", "b", "c")),
    "actions": FrameNames(("left", "right")),
    "text": Text("ab ", 5, pace=0.1),
    "speaker": Vectors(4),
}
WAYS: dict[str, dict[str, ConditionFactory]] = {
    "class as a prefix": {"class": partial(ClassLabel, enters=("prefix",))},
    "class as modulation": {"class": partial(ClassLabel, enters=("modulation",))},
    "class as both": {"class": ClassLabel},
    "actions": {"actions": Actions},
    "text as a prefix": {"text": Characters},
    "text at frames": {"text": partial(Characters, reading="frames")},
    "speaker": {"speaker": Speaker},
    "class and text": {"class": ClassLabel, "text": partial(Characters, reading="both")},
    "all": {"class": ClassLabel, "actions": Actions, "text": Characters, "speaker": Speaker},
}


def generator(
    chosen: Mapping[str, ConditionFactory] | None,
    paradigm: Paradigm | None = None,
    spec: TokenSpec = SPEC,
    vocabularies: Mapping[str, Vocabulary] = VOCABULARIES,
    **backbone: object,
) -> Generator:
    """In float64, with weights so large that everything counts."""
    paradigm = paradigm or Autoregressive()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"dim": 32, "depth": 2, "heads": 2, "rope": (1, 1, 1)} | backbone
        inner = Transformer(**options)  # type: ignore[arg-type]
        conditions = build_conditions(chosen, vocabularies, spec, 32)
        parts = paradigm.parts(spec, inner)
        model = Generator(spec, inner, conditions, "spatial", None, parts, paradigm.starts).double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


def values_of(model: Generator, rows: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Random values of all that it takes, none of them null."""
    source = torch.Generator().manual_seed(seed)
    actual = {
        "class": torch.randint(0, 3, (rows,), generator=source),
        "actions": torch.randint(0, 2, (rows, GRID[0]), generator=source),
        "text": torch.randint(0, 3, (rows, 5), generator=source),
        "speaker": torch.randn(rows, 4, generator=source, dtype=torch.float64),
    }
    return {name: actual[name] for name in model.conditions}

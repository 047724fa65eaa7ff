"""Small generators and enumerable worlds, shared by the property tests."""

import itertools
from functools import partial

import torch
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.core.vocabulary import FrameNames, Names, Vocabulary
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Actions, Characters, ClassLabel, Condition, Conditioning, build_conditions
from mmgen.model.conditions.characters import Reading
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    DDPM,
    Autoregressive,
    BlockDiffusion,
    CodebookAutoregressive,
    ContinuousBlockDiffusion,
    Flow,
    FrameAutoregressive,
    Hierarchical,
    Masked,
    MaskedCodebooks,
    MaskedDiffusion,
    Mixture,
    Paradigm,
    Permuted,
    RandomOrder,
    RandomUnits,
    SpanInfill,
    Subgrids,
    Tiles,
)
from mmgen.paradigms.autoregressive.steps import StepParadigm
from mmgen.paradigms.blocks.blockwise import Blockwise

GRID = (1, 3, 3)

PARADIGMS: dict[str, Paradigm] = {
    "ar": Autoregressive(),
    "masked": Masked(),
    "block-1": BlockDiffusion(1),
    "block-2": BlockDiffusion(2),
    "block-4": BlockDiffusion(4),
    "block-all": BlockDiffusion(9),
    "tiles": BlockDiffusion(Tiles(2)),
    "scales": BlockDiffusion(Subgrids(2)),
    "any-order": BlockDiffusion(RandomOrder(2)),
    "random-units": BlockDiffusion(RandomUnits(sampling_size=4)),
    "diffusion": MaskedDiffusion("cosine", steps=5),
    "mended": MaskedDiffusion("polynomial", self_conditioning=True, steps=5),
    "uniform": MaskedDiffusion(corruption="uniform", self_conditioning=True, steps=5),
    "flow-1": ContinuousBlockDiffusion(1, Flow(), steps=3),
    "flow-4": ContinuousBlockDiffusion(4, Flow("x0"), steps=3),
    "flow-all": ContinuousBlockDiffusion(9, Flow(density="logit_normal", shift=2.0), steps=3),
    "ddpm-tiles": ContinuousBlockDiffusion(Tiles(2), DDPM(), steps=3),
    "flow-random-units": ContinuousBlockDiffusion(RandomUnits(sampling_size=4), Flow(), steps=3),
    "frames": FrameAutoregressive(),
    "delay": CodebookAutoregressive(),
    "coarse-first": CodebookAutoregressive("coarse_first"),
    "flat-ends": CodebookAutoregressive("flat", ends=True),
    "hierarchical": Hierarchical(ends=True),
    "by-level": MaskedCodebooks(steps=(4, 2)),
    "by-level-spans": MaskedCodebooks(steps=(2, 1), span=2, context=1, greedy=1),
    "permuted": Permuted(),
    "infill": SpanInfill(),
    "infill-closed": SpanInfill("flat", least=0, positions="closed"),
}
"""Every paradigm that exists, block diffusion over the range of its block size (9 positions: remainders included)."""

SPECS = {
    "bits": TokenSpec("bits", 4, GRID),
    "continuous": TokenSpec("continuous", 3, GRID),
    "residual": TokenSpec("residual", 16, GRID, levels=3),
}


def spec_for(paradigm: Paradigm) -> TokenSpec:
    """Tokens that it can generate."""
    if isinstance(paradigm, StepParadigm | Permuted | MaskedCodebooks):
        return SPECS["residual"]
    return SPECS["continuous" if isinstance(paradigm, ContinuousBlockDiffusion) else "bits"]


def tokens_for(paradigm: Paradigm, rows: int = 4, seed: int = 0, lengths: Tensor | None = None) -> Tokens:
    """Random tokens that it can generate."""
    source = torch.Generator().manual_seed(seed)
    if spec_for(paradigm).kind == "continuous":
        return Tokens(torch.randn(rows, 9, 3, generator=source, dtype=torch.float64), GRID, lengths)
    levels = (3,) if spec_for(paradigm).kind == "residual" else ()
    return Tokens(torch.randint(0, 16, (rows, 9, *levels), generator=source), GRID, lengths)


def ragged(paradigm: Paradigm) -> bool:
    """Whether rows may be of different lengths: only what goes in raster order can be cut short."""
    return not isinstance(paradigm, Blockwise) or paradigm.split.is_raster


GENERATOR_OPTIONS = ("positions", "head")
CONDITION_OPTIONS = ("actions", "text", "reading")


def parts(spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
    """What every paradigm that fits these tokens and this backbone brings along, under the names that they share."""
    carriers: list[Paradigm] = [
        MaskedDiffusion(corruption="uniform" if backbone.modulated else "absorbing", self_conditioning=True),
        Permuted(),
        SpanInfill(ends=spec.kind in ("categorical", "residual")),
    ]
    carriers += [Hierarchical(level_depth=1)] if spec.kind == "residual" else []
    return Mixture({type(each).__name__: each for each in carriers}).parts(spec, backbone)


def conditions(
    spec: TokenSpec,
    dim: int,
    classes: int = 0,
    actions: int = 0,
    text: Text | None = None,
    reading: Reading = "prefix",
) -> dict[str, Condition]:
    """Of so many classes and actions, and of texts."""
    brought: dict[str, Vocabulary] = {}
    if classes:
        brought["class"] = Names(tuple(map(str, range(classes))))
    if actions:
        brought["actions"] = FrameNames(tuple(map(str, range(actions))))
    if text is not None:
        brought["text"] = text
    kinds = {"class": ClassLabel, "actions": Actions, "text": partial(Characters, reading=reading)}
    return build_conditions({name: kinds[name] for name in brought}, brought, spec, dim)


def generator(
    spec: TokenSpec | None = None, classes: int = 3, seed: int = 0, paradigm: Paradigm | None = None, **backbone: object
) -> Generator:
    """A small generator in float64 with weights large enough that everything influences everything, with the parts of a
    paradigm, or of every one.
    """
    own = {name: backbone.pop(name) for name in GENERATOR_OPTIONS if name in backbone}
    named_options = {name: backbone.pop(name) for name in CONDITION_OPTIONS if name in backbone}
    spec = spec or SPECS["bits"]
    if spec.kind == "residual":  # whose rows go on behind the last place of a table
        own = {"positions": "spatial"} | own
    options = {"dim": 32, "depth": 2, "heads": 2, "rope": (1, 1, 1)} | backbone
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = Transformer(**options)  # type: ignore[arg-type]
        brought = (parts if paradigm is None else paradigm.parts)(spec, transformer)
        named = conditions(spec, transformer.dim, classes, **named_options)  # type: ignore[arg-type]
        model = Generator(spec, transformer, named, parts=brought, **own).double().eval()  # type: ignore[arg-type]
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


def condition_values(model: Generator, labels: Tensor, **more: Tensor | None) -> dict[str, Tensor]:
    """Values by name of what a model, or what stands for one, takes: classes, and texts or actions."""
    values = {"class": labels, **more}
    return {name: each for name, each in values.items() if each is not None and name in model.conditions}


def condition_of(model: Generator, labels: Tensor, **more: Tensor | None) -> Conditioning:
    """What these contribute to as many rows as there are labels."""
    return model.conditions(condition_values(model, labels, **more), len(labels))


def draws(batch: int, seed: int = 0, first: int = 0) -> Draws:
    """Streams of samples first, first + 1, ..."""
    return Draws(seed, torch.arange(first, first + batch))


class World:
    """All sequences of `length` tokens over `size` values, with a law that has no conditional independence in it."""

    def __init__(self, size: int = 2, length: int = 3, seed: int = 0) -> None:
        self.spec = TokenSpec("categorical", size, (1, 1, length))
        self.states = torch.tensor(list(itertools.product(range(size), repeat=length)))
        logits = torch.randn(len(self.states), generator=torch.Generator().manual_seed(seed)) * 1.2
        self.law = logits.double().softmax(0)
        self.powers = size ** torch.arange(length - 1, -1, -1)

    @property
    def entropy(self) -> float:
        """Nats per token."""
        return float(torch.special.entr(self.law).sum()) / self.spec.length

    def sample(self, count: int, seed: int) -> Tensor:
        """(count, length) tokens."""
        chosen = torch.multinomial(self.law, count, replacement=True, generator=torch.Generator().manual_seed(seed))
        return self.states[chosen]

    def histogram(self, tokens: Tensor) -> Tensor:
        """How often each state occurs."""
        return torch.bincount((tokens.flatten(1) * self.powers).sum(1), minlength=len(self.states))

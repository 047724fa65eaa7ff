"""Hierarchical autoregression: a position a step, each level by a stack that sees the coarser ones (after Mogo)."""

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import require
from mmgen.core.layout import Layout
from mmgen.core.masks import MaskName
from mmgen.core.patterns import Pattern
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import Cache, Passes, Transformer, prepare
from mmgen.model.conditions import Conditioning
from mmgen.model.embeddings.tokens import ResidualEmbedding
from mmgen.model.generator import Generator
from mmgen.model.heads import ResidualHead
from mmgen.paradigms.autoregressive.codebooks import CodebookAutoregressive, Question
from mmgen.paradigms.autoregressive.steps import StepRow, choose
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import GuidedGenerator


class Hierarchical(CodebookAutoregressive):
    """Predict the codes of the next position, the coarsest first: the backbone yields that of the first level, and each
    further level has a stack of blocks over the features and the code of the level before. All stacks see what the
    backbone sees, with codes of one position more at coarser levels.

    It is richer than Mogo's released code, in which the stack of a level reads the codes of this and coarser levels at
    earlier positions alone: there the levels of a position are independent given the past, and the first level never
    reads a finer one. Here a level reads the coarser codes of its own position, and all levels of earlier positions.

    Sampled with a key-value cache for each stack, a pass of the backbone a position: levels depend on each other as
    when flat, at the number of steps of parallel codes. The loss is the exact negative log-likelihood, in nats per
    token, a token being the codes of all levels. With `ends` rows end by themselves, as for `CodebookAutoregressive`.

    Args:
        input_dropout: share of the steps that are hidden from the input in training, see `StepParadigm`.
        token_noise: share of the codes that are random in the input in training, likewise, for finer levels of the same
            position too.
        mask: who may see whom; one under which a step sees a later one is refused.
        ends: rows end by themselves.
        level_depth: blocks of the stack of each level after the first.
    """

    def __init__(
        self,
        input_dropout: float = 0.0,
        token_noise: float = 0.0,
        mask: MaskName = "causal",
        ends: bool = False,
        level_depth: int = 2,
    ) -> None:
        super().__init__("parallel", None, input_dropout, token_noise, mask, ends)
        require(level_depth >= 1, f"level_depth {level_depth} must be at least 1")
        self.level_depth = level_depth

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`levels`: a stack of blocks for each level after the first; and what rows with an END need."""
        _require_residual(spec)
        stacks = [backbone.sibling(self.level_depth) for _ in range(spec.levels - 1)]
        return super().parts(spec, backbone) | {"levels": nn.ModuleList(stacks)}

    def steps(self, generator: Generator) -> Pattern:
        """A step a position. UserError as for every paradigm over codebooks, and for tokens of one level."""
        _require_residual(generator.spec)
        return super().steps(generator)

    def logits(self, generator: Generator, row: StepRow, condition: Conditioning) -> Tensor:
        """(B, K, Q, choices): each level given the true codes, as far as the row shows them, of coarser ones."""
        assert row.hidden is not None
        features = generator(row.values, row.layout, row.mask, condition, row.hidden)
        codes = _predicted(generator, row.values, row.hidden, row.targets[:, -1:], row.layout.length)
        count, logits = row.targets.shape[1], []
        for level in range(generator.spec.levels):
            if level:
                features = self._deeper(generator, level, features, codes[..., level - 1], row.layout, condition)
            logits.append(self._scores(generator, features[:, -count:], level))
        return torch.stack(logits, dim=-2)

    def answer(self, model: GuidedGenerator, decoding: Decoding) -> Callable[[Question], Tensor]:
        """What draws the codes (B, Q) of each step of a batch, level after level, in one pass."""
        generator = model.generator
        assert model.cache is not None
        shape = len(model.condition.vector), model.cache.capacity
        stacks = self._stacks(generator)
        caches, ready = [stack.new_cache(*shape) for stack in stacks], [prepare(stack) for stack in stacks]

        def draw(question: Question) -> Tensor:
            layout, drawn = question.layout.repeat(model.halves), question.known.clone()
            features = model.features(question.values, question.layout, self.mask, hidden=question.hidden)
            for level in range(generator.spec.levels):
                if level:
                    codes = _predicted(generator, question.values, question.hidden, drawn[:, None], layout.length)
                    before = model.double(codes[..., level - 1])
                    features = self._deeper(
                        generator, level, features, before, layout, model.condition, caches[level - 1], ready[level - 1]
                    )
                logits = model.guided(self._scores(generator, features[:, -1], level), question.progress)
                ending = question.ending if level == 0 or question.ending is None else torch.zeros_like(question.ending)
                chance = question.chance[:, level : level + 1]
                chosen = choose(_head(generator), logits[:, None], ending, decoding, chance)[:, 0]
                drawn[:, level] = torch.where(question.wanted[:, level], chosen, drawn[:, level])
            return drawn

        return draw

    def _stacks(self, generator: Generator) -> list[Transformer]:
        return [cast(Transformer, stack) for stack in cast(nn.ModuleList, self.part(generator, "levels"))]

    def _deeper(
        self,
        generator: Generator,
        level: int,
        features: Tensor,
        codes: Tensor,
        layout: Layout,
        condition: Conditioning,
        cache: Cache | None = None,
        stack: Passes | Transformer | None = None,
    ) -> Tensor:
        """Features (B, N, dim) of a row's positions for a level after the first, from those for the level before and
        its codes (B, N), the codebook's size where a position predicts none. With a cache the positions are those it
        does not hold yet; `stack` is that of the level made ready for many passes.
        """
        assert isinstance(generator.embedding, ResidualEmbedding)
        x = features + generator.embedding.level(codes, level - 1).to(features.dtype)
        run: Any = stack or self._stacks(generator)[level - 1]
        memory = condition.attended(x.dtype)
        return cast(Tensor, run(x, layout, self.mask, condition.vector.to(x.dtype), cache=cache, memory=memory))

    def _scores(self, generator: Generator, features: Tensor, level: int) -> Tensor:
        """Logits (..., choices) of a level, with END where rows end by themselves, which is 0 after the first level."""
        logits = _head(generator).at_level(features, level)
        if level == 0:
            return self.with_end(generator, logits[..., None, :], features)[..., 0, :]
        return F.pad(logits, (0, 1)) if self.ends else logits


def _require_residual(spec: TokenSpec) -> None:
    other = f"Hierarchical goes through the levels of residual tokens, and these are {spec.kind}, of one level"
    require(spec.kind == "residual", f"{other}: take Autoregressive as the paradigm")


def _predicted(generator: Generator, values: Tensor, hidden: Tensor, last: Tensor, count: int) -> Tensor:
    """(B, count, Q) codes that each position predicts, of steps (B, S, Q) and the last step (B, 1, Q) behind them: the
    codebook's size where they are hidden (B, S, Q) or where a position of the prefix predicts none.
    """
    size = generator.spec.size
    codes = torch.cat([values.masked_fill(hidden, size), last], dim=1)[:, -count:]
    return F.pad(codes, (0, 0, count - codes.shape[1], 0), value=size)


def _head(generator: Generator) -> ResidualHead:
    assert isinstance(generator.head, ResidualHead)
    return generator.head

"""Classifier-free guidance: one convention, its schedules, and the doubled batch that it costs."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mmgen.core.characters import NO_SYMBOL
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone import prepare, prepare_head
from mmgen.model.conditioning import NO_ACTION, NO_CLASS, Condition
from mmgen.model.generator import Generator
from mmgen.model.heads import Head


@dataclass(frozen=True)
class Guidance:
    """How strongly the condition is followed.

    Args:
        scale: see `mmgen.model.heads.Head.guide`; 1 turns guidance off and saves the unconditional half of the batch.
        schedule: `constant`, or `linear`: from 1 where nothing is committed to `scale` where all is (MUSE, MaskGIL,
            MAR).
    """

    scale: float = 1.0
    schedule: Literal["constant", "linear"] = "constant"

    def at(self, progress: Tensor) -> Tensor:
        """Scale for rows whose committed share is progress (B,), in [0, 1]."""
        ramp = {"constant": torch.ones_like(progress), "linear": progress}[self.schedule]
        return 1 + (self.scale - 1) * ramp


class GuidedGenerator:
    """A generator with its condition, guidance and cache settled: what a sampler calls.

    Under guidance each pass runs conditional and unconditional rows as one doubled batch, each half with its own
    cached keys.

    Args:
        generator: in evaluation mode.
        labels: (B,) int64, -1 for rows without a class.
        guidance: scale and schedule.
        capacity: positions to cache, 0 for no cache.
        actions: (B, F) int64 actions that lead to each frame, -1 for none or not yet known; None where the generator
            knows none.
        text: (B, L) int64 characters of what is said; None for none.
    """

    def __init__(
        self,
        generator: Generator,
        labels: Tensor,
        guidance: Guidance,
        capacity: int = 0,
        actions: Tensor | None = None,
        text: Tensor | None = None,
    ) -> None:
        if guidance.scale != 1 and not (generator.classes or generator.actions or generator.text):
            raise UserError(
                f"guidance scale {guidance.scale} needs a conditional model, and this one was trained without classes"
            )
        self.generator, self.guidance = generator, guidance
        self.halves = 1 if guidance.scale == 1 else 2
        self.labels, self.actions, self.text = labels, actions, text
        self.condition = self._condition()
        self.cache = generator.backbone.new_cache(self.halves * len(labels), capacity) if capacity else None
        self._passes = [0]  # shared with views of some rows
        self._backbone = prepare(generator.backbone)
        self.head: Head = prepare_head(generator.head)

    @property
    def forward_passes(self) -> int:
        """Calls of the backbone so far, those through views included."""
        return self._passes[0]

    def _condition(self) -> Condition:
        """Of all rows, and behind them of the same rows without class, actions and text."""
        given = (self.labels, NO_CLASS), (self.actions, NO_ACTION), (self.text, NO_SYMBOL)
        if self.halves == 1:
            return self.generator.conditioning(*(x for x, _ in given))
        both = (None if x is None else torch.cat([x, torch.full_like(x, none)]) for x, none in given)
        return self.generator.conditioning(*both)

    def follow(self, mask: Mask, row: Layout) -> None:
        """Tell that the passes store this row in the cache, piece by piece from its beginning, under this mask."""
        self._backbone.follow(mask, row.repeat(self.halves))

    def steer(self, frame: int, actions: Tensor) -> None:
        """Tell the actions (B,) that lead to a frame, before any pass over it."""
        assert self.actions is not None, "the request has actions"
        self.actions = self.actions.clone()
        self.actions[:, frame] = actions
        self.condition = self._condition()

    def rows(self, index: Tensor) -> "GuidedGenerator":
        """A view for some rows, index (b,) int64. Without a cache only."""
        assert self.cache is None, "cached keys belong to all rows"
        view = copy.copy(self)
        count = len(self.labels)
        view.condition = self.condition.rows(torch.cat([index + half * count for half in range(self.halves)]))
        return view

    def __call__(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        progress: Tensor | Callable[[], Tensor],
        hidden: Tensor | None = None,
        store: int | None = None,
        outputs: int | None = None,
        added: Tensor | None = None,
        modulation: Tensor | None = None,
    ) -> Tensor:
        """The head's guided prediction in float64: logits (B, outputs, groups, choices), or vectors (B, outputs, C).
        progress (B,) is the committed share of each row, or what tells it; the rest is as in `Generator.forward`.
        """
        return self.guided(self.predict(values, layout, mask, hidden, store, outputs, added, modulation), progress)

    def predict(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        hidden: Tensor | None = None,
        store: int | None = None,
        outputs: int | None = None,
        added: Tensor | None = None,
        modulation: Tensor | None = None,
    ) -> Tensor:
        """The head's prediction (halves B, ...) for all rows, and under guidance for the same rows without their
        condition behind them: for `guided`, or for what mixes something else than predictions.
        """
        features = self.features(values, layout, mask, hidden, store, outputs, added, modulation)
        return self.head.predict(features)

    def features(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        hidden: Tensor | None = None,
        store: int | None = None,
        outputs: int | None = None,
        added: Tensor | None = None,
        modulation: Tensor | None = None,
    ) -> Tensor:
        """The generator's features (halves B, outputs, dim) of all rows, and under guidance of the same rows without
        their condition behind them.
        """
        self._passes[0] += 1

        def double(x: Tensor | None) -> Tensor | None:
            return None if x is None else self.double(x)

        return self.generator(
            double(values), layout.repeat(self.halves), mask, self.condition, double(hidden), self.cache, store,
            outputs, double(added), double(modulation), self._backbone,
        )  # fmt: skip

    def double(self, x: Tensor) -> Tensor:
        """(B, ...) -> (halves B, ...): what both halves of the batch are given; one for all rows stays so."""
        return x if self.halves == 1 or len(x) < len(self.condition.vector) // self.halves else torch.cat([x, x])

    def guided(self, predicted: Tensor, progress: Tensor | Callable[[], Tensor]) -> Tensor:
        """Predictions (halves B, ...) of both halves -> (B, ...) float64. Without guidance nobody asks for progress."""
        predicted = predicted.double()
        if self.halves == 1:
            return predicted
        conditional, unconditional = predicted.chunk(2)
        progress = progress if isinstance(progress, Tensor) else progress()
        scale = self.guidance.at(progress.double()).view(-1, *[1] * (conditional.dim() - 1))
        return self.generator.head.guide(conditional, unconditional, scale)

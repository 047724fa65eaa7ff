"""Classifier-free guidance: one convention, its schedules, and the doubled batch that it costs."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.model.backbone import prepare, prepare_head
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.model.heads import Head


@dataclass(frozen=True)
class Guidance:
    """How strongly the condition is followed.

    Args:
        scale: see `mmgen.model.heads.Head.guide`; 1 turns guidance off and saves the unconditional half of the batch.
        schedule: `constant`, or `linear`: from 1 where nothing is committed to `scale` where all is (MUSE, MaskGIL,
            MAR).
        drop: the conditions that the unconditional half is without; all of them where None.
    """

    scale: float = 1.0
    schedule: Literal["constant", "linear"] = "constant"
    drop: tuple[str, ...] | None = None

    def at(self, progress: Tensor) -> Tensor:
        """Scale for rows whose committed share is progress (B,), in [0, 1]."""
        ramp = {"constant": torch.ones_like(progress), "linear": progress}[self.schedule]
        return 1 + (self.scale - 1) * ramp


class PassOptions(TypedDict, total=False):
    """Of one pass, as in `Generator.forward`."""

    hidden: Tensor | None
    store: int | None
    outputs: int | None
    added: Tensor | None
    modulation: Tensor | None


class GuidedGenerator:
    """A generator with its condition, guidance and cache settled: what a sampler calls.

    Under guidance each pass runs conditional and unconditional rows as one doubled batch, unconditional ones last, each
    half with its own cached keys.

    Args:
        generator: in evaluation mode.
        values: of all conditions, by name.
        rows: B.
        guidance: scale, schedule, and which conditions it drops.
        capacity: positions to cache, 0 for no cache.
        steered: name of a condition -> from the number of a frame to its values (B,).

    Raises:
        UserError: guidance without a condition, or by one that the generator does not take or was not trained without.
    """

    def __init__(
        self,
        generator: Generator,
        values: Mapping[str, Tensor],
        rows: int,
        guidance: Guidance,
        capacity: int = 0,
        steered: Mapping[str, Callable[[int], Tensor]] | None = None,
    ) -> None:
        if guidance.scale != 1:
            require_droppable(generator, guidance)
        self.generator, self.guidance = generator, guidance
        self.halves = 1 if guidance.scale == 1 else 2
        self.values, self.row_count, self.steered = dict(values), rows, steered or {}
        self.condition = self._condition()
        self.cache = generator.backbone.new_cache(self.halves * rows, capacity) if capacity else None
        self._passes = [0]  # shared with views of some rows
        self._frame = -1  # the last one that was steered
        self._backbone = prepare(generator.backbone)
        self.head: Head = prepare_head(generator.head)

    @property
    def forward_passes(self) -> int:
        """Calls of the backbone so far, those through views included."""
        return self._passes[0]

    def _condition(self) -> Conditioning:
        values = self.values
        if self.halves == 2:
            dropped = self.generator.conditions.without(values, self.guidance.drop)
            values = {name: torch.cat([each, dropped[name]]) for name, each in values.items()}
        return self.generator.conditions(values, self.halves * self.row_count)

    def follow(self, mask: Mask, row: Layout) -> None:
        """Announce that the passes store this row in the cache, piece by piece from its beginning, under this mask."""
        self._backbone.follow(mask, row.repeat(self.halves))

    def steer(self, last: int) -> None:
        """Ask for what steers each frame up to the last one, before any pass over it."""
        while self.steered and self._frame < last:
            self._frame += 1
            for name, ask in self.steered.items():
                values = self.generator.conditions[name].frame(ask(self._frame), self.row_count)
                self.values[name] = self.values[name].clone()
                self.values[name][:, self._frame] = values
            self.condition = self._condition()

    def rows(self, index: Tensor) -> "GuidedGenerator":
        """A view for some rows, index (b,) int64. Without a cache only."""
        assert self.cache is None, "cached keys belong to all rows"
        view = copy.copy(self)
        count = self.row_count
        view.condition = self.condition.rows(torch.cat([index + half * count for half in range(self.halves)]))
        return view

    def __call__(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        progress: Tensor | Callable[[], Tensor],
        **options: Unpack[PassOptions],
    ) -> Tensor:
        """The head's guided prediction in float64: logits (B, outputs, groups, choices), or vectors (B, outputs, C).
        progress (B,), or a function that computes it, is the committed share of each row.
        """
        return self.guided(self.head.predict(self.features(values, layout, mask, **options)), progress)

    def features(self, values: Tensor, layout: Layout, mask: Mask, **options: Unpack[PassOptions]) -> Tensor:
        """The generator's features (halves B, outputs, dim)."""
        self._passes[0] += 1

        def double(x: Tensor | None) -> Tensor | None:
            return None if x is None else self.double(x)

        return self.generator(
            double(values), layout.repeat(self.halves), mask, self.condition, double(options.get("hidden")),
            self.cache, options.get("store"), options.get("outputs"), double(options.get("added")),
            double(options.get("modulation")), self._backbone,
        )  # fmt: skip

    def double(self, x: Tensor) -> Tensor:
        """(B, ...) -> (halves B, ...): the same for both halves; what is one for all rows stays so."""
        return x if self.halves == 1 or len(x) < len(self.condition.vector) // self.halves else torch.cat([x, x])

    def guided(self, predicted: Tensor, progress: Tensor | Callable[[], Tensor]) -> Tensor:
        """Predictions (halves B, ...) -> (B, ...) float64; progress as for a call, ignored without guidance."""
        predicted = predicted.double()
        if self.halves == 1:
            return predicted
        conditional, unconditional = predicted.chunk(2)
        progress = progress if isinstance(progress, Tensor) else progress()
        scale = self.guidance.at(progress.double()).view(-1, *[1] * (conditional.dim() - 1))
        return self.generator.head.guide(conditional, unconditional, scale)


def require_droppable(generator: Generator, guidance: Guidance) -> None:
    """Raises UserError where this guidance would drop what the generator was never trained without."""
    conditions = generator.conditions
    require(len(conditions) > 0, "guidance needs a conditional model, and this one takes no condition")
    names = tuple(conditions) if guidance.drop is None else guidance.drop
    conditions.require(names)
    if not conditions.trains_without(names):
        raise UserError(
            f"it was not trained without {', '.join(names)}: train with dropout of all conditions, or own_dropout of"
            " these"
        )

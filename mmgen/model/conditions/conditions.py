"""All conditions of a generator, by name: how they are made, and the one place of condition dropout."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.core.layout import Layout, prefix
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Vocabulary, subclasses
from mmgen.model.conditions.base import Condition, ConditionFactory, Conditioning


class Conditions(nn.Module):
    """Named conditions of a backbone of width `dim`. Where `start` says that a row needs a position before its first
    token and no condition has one, a learned start token stands there.
    """

    nothing: Tensor

    def __init__(self, named: Mapping[str, Condition], dim: int, start: bool) -> None:
        super().__init__()
        self.named = nn.ModuleDict(named)
        needed = start and not any(each.layout.length for each in named.values())
        self.start = nn.Parameter(0.5 * torch.randn(1, dim)) if needed else None
        self.register_buffer("nothing", torch.zeros(0, dim), persistent=False)

    def __contains__(self, name: str) -> bool:
        return name in self.named

    def __getitem__(self, name: str) -> Condition:
        return cast(Condition, self.named[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.named)

    def __len__(self) -> int:
        return len(self.named)

    def items(self) -> Iterator[tuple[str, Condition]]:
        """Names and conditions, in order."""
        return ((name, self[name]) for name in self)

    @property
    def layout(self) -> Layout:
        """What the positions at the start of a row are."""
        layouts = [each.layout for _, each in self.items() if each.layout.length]
        return _joined(int(self.start is not None), *layouts)

    def require(self, names: Sequence[str]) -> None:
        """Raises UserError naming the first of them that there is not."""
        for name in names:
            if name not in self:
                known = f"it takes {', '.join(self)}" if len(self) else "it takes no condition"
                raise UserError(f"this generator was trained without {name}: {known}")

    def trains_without(self, names: Sequence[str]) -> bool:
        """Whether some training rows lose these conditions and keep all others, or lose all."""
        lost = [each for name, each in self.items() if name in names]
        others = max((each.dropout for name, each in self.items() if name not in names), default=0.0)
        return all(each.own_dropout > 0 or each.dropout > others for each in lost)

    def fill(self, values: Mapping[str, Tensor], rows: int, frames: int | None = None) -> dict[str, Tensor]:
        """A value for every condition: null for those that are missing. Raises UserError for values of other
        conditions.
        """
        self.require(list(values))
        device = self.nothing.device
        return {
            name: values[name] if name in values else condition.null(rows, frames).to(device)
            for name, condition in self.items()
        }

    def drop(self, values: Mapping[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Values of which a share of the rows is null: one number a sample decides for all, and another for each."""
        together = draws.uniform("condition_dropout")
        dropped = {}
        for name, condition in self.items():
            lost = together < condition.dropout
            if condition.own_dropout:
                lost = lost | (draws.uniform(f"condition_dropout/{name}") < condition.own_dropout)
            dropped[name] = condition.drop(values[name], lost)
        return dropped

    def without(self, values: Mapping[str, Tensor], names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values of which the named conditions are null; all of them by default."""
        return {
            name: self[name].drop(each, torch.ones(len(each), dtype=torch.bool, device=each.device))
            if names is None or name in names
            else each
            for name, each in values.items()
        }

    def forward(
        self, values: Mapping[str, Tensor] | None = None, rows: int | None = None, draws: Draws | None = None
    ) -> Conditioning:
        """What the conditions contribute to B rows, as many as values by default; `draws` of training rows are for
        augmentation.
        """
        values = values or {}
        count = len(next(iter(values.values()))) if rows is None else rows
        filled = self.fill(values, count)
        entries = [condition(filled[name], draws) for name, condition in self.items()]
        start = self.nothing if self.start is None else self.start
        return Conditioning.of(entries, start.expand(count, -1, -1))


def build_conditions(
    chosen: Mapping[str, ConditionFactory] | None, brought: Mapping[str, Vocabulary], spec: TokenSpec, dim: int
) -> dict[str, Condition]:
    """The conditions of a generator, by name.

    Args:
        chosen: name -> how it is made; None for all that the data brings, each by the default kind of its vocabulary.
        brought: name -> vocabulary, of the data.
        spec: of the tokens.
        dim: width of the backbone.

    Raises:
        UserError: a condition that the data does not bring, or of another vocabulary.
    """
    if chosen is None:
        defaults = {name: default_kind(vocabulary) for name, vocabulary in brought.items()}
        chosen = {name: kind for name, kind in defaults.items() if kind is not None}
    return {name: _made(name, factory, brought, spec, dim) for name, factory in chosen.items()}


def unread(conditions: Mapping[str, Condition], brought: Mapping[str, Vocabulary]) -> list[str]:
    """The names of what the data brings and no condition reads."""
    return [name for name in brought if name not in conditions]


def default_kind(vocabulary: Vocabulary) -> ConditionFactory | None:
    """The kind of condition that is taken for a vocabulary where nobody chose one; None where there is none."""
    every = subclasses(Condition)  # type: ignore[type-abstract]
    kinds = [kind for kind in every if kind.default and kind.takes is type(vocabulary)]
    return kinds[0] if kinds else None


def _made(
    name: str, factory: ConditionFactory, brought: Mapping[str, Vocabulary], spec: TokenSpec, dim: int
) -> Condition:
    if name not in brought:
        known = ", ".join(brought) or "no conditions"
        raise UserError(f"model.conditions.{name} has no data: it brings {known}{nearest(name, brought)}")
    try:
        return factory(brought[name], spec, dim)
    except UserError as error:
        raise UserError(f"model.conditions.{name}: {error}") from None


@remember(256)
def _joined(start: int, *layouts: Layout) -> Layout:
    whole = prefix(start)
    for layout in layouts:
        whole = whole + layout if whole.length else layout
    return whole

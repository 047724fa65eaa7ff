"""All conditions of a generator, by name, and the one place of condition dropout."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix
from mmgen.core.shape_cache import remember
from mmgen.model.conditions.base import Condition
from mmgen.model.conditions.conditioning import Conditioning


class Conditions(nn.Module):
    """Named conditions. Where none of them has a position at the start of a row, a learned start token stands there, of
    no class: a paradigm that predicts each token from the position before it could not predict the first one without.

    Args:
        named: name -> condition.
        dim: width of the backbone.
        start: whether such a token is needed.
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
        """A value for every condition: null for those that have none given.

        Args:
            values: by name.
            rows: B.
            frames: of each row; those of training by default.

        Raises:
            UserError: values of a condition that there is not.
        """
        self.require(list(values))
        device = self.nothing.device
        return {
            name: values[name] if name in values else condition.null(rows, frames).to(device)
            for name, condition in self.items()
        }

    def drop(self, values: Mapping[str, Tensor], draws: Draws) -> dict[str, Tensor]:
        """Values of which a share of the rows, drawn for each sample, is null: one number decides for all conditions,
        and one more for each by itself.
        """
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
        """What the conditions contribute.

        Args:
            values: by name; null for those that are missing.
            rows: B; as many as there are values by default.
            draws: of training rows, for augmentation.

        Raises:
            UserError: values of a condition that there is not.
        """
        values = values or {}
        count = len(next(iter(values.values()))) if rows is None else rows
        filled = self.fill(values, count)
        entries = [condition(filled[name], draws) for name, condition in self.items()]
        start = self.nothing if self.start is None else self.start
        return Conditioning.of(entries, start.expand(count, -1, -1))


@remember(256)
def _joined(start: int, *layouts: Layout) -> Layout:
    whole = prefix(start)
    for layout in layouts:
        whole = whole + layout if whole.length else layout
    return whole

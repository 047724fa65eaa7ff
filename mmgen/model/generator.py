"""The generator: embeddings, conditions, backbone and head, in a plain module that is trained, exported and sampled."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout, Role
from mmgen.core.mask import Mask
from mmgen.core.tokens import Grid, TokenSpec
from mmgen.core.vocabulary import Names, Vocabulary
from mmgen.model.backbone import Cache, Passes, Transformer
from mmgen.model.conditions import Condition, Conditioning, Conditions
from mmgen.model.embeddings.positions import AbsolutePositions, PositionKind
from mmgen.model.embeddings.tokens import embedding_for
from mmgen.model.heads import HeadFactory, head_for


class Generator(nn.Module):
    """Everything between tokens and the distribution of tokens. It knows no paradigm, and only holds the modules that
    one brings along (`Paradigm.parts`).

    Args:
        spec: the tokens it models.
        backbone: the transformer.
        conditions: by name, as `build_conditions` makes them; none for an unconditional model.
        positions: absolute position table added to the tokens, beside the backbone's rotary positions.
        head: the output end, made of the spec and the width; by default that of the token kind.
        parts: modules that the paradigm brings, by name.
        start: whether a row needs a position before its first token (`Paradigm.starts`).

    Raises:
        UserError: a condition that enters where this backbone has no entrance.
    """

    def __init__(
        self,
        spec: TokenSpec,
        backbone: Transformer,
        conditions: Mapping[str, Condition] | None = None,
        positions: PositionKind = "learned",
        head: HeadFactory | None = None,
        parts: Mapping[str, nn.Module] | None = None,
        start: bool = True,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.embedding = embedding_for(spec, backbone.dim)
        self.positions = None if positions == "none" else AbsolutePositions(spec.grid, backbone.dim, positions)
        self.conditions = Conditions(conditions or {}, backbone.dim, start)
        _require_entrances(self.conditions, backbone)
        self.head = (head or head_for)(spec, backbone.dim)
        self.parts = nn.ModuleDict(parts)

    @property
    def prefix(self) -> Layout:
        """What the positions of the conditions are, at the start of every row."""
        return self.conditions.layout

    @property
    def prefix_length(self) -> int:
        """Positions that the conditions take at the start of every row."""
        return self.conditions.layout.length

    def vocabulary(self, condition: str) -> Vocabulary | None:
        """The values that a condition can take; None for a generator that does not take it."""
        return self.conditions[condition].vocabulary if condition in self.conditions else None

    def names(self, condition: str) -> tuple[str, ...]:
        """The values of a condition that are a list of names; none of another kind, or where it is not taken."""
        vocabulary = self.vocabulary(condition)
        return vocabulary.names if isinstance(vocabulary, Names) else ()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def transformers(self) -> list[Transformer]:
        """The backbone, and the transformers among the parts."""
        return [module for module in self.modules() if isinstance(module, Transformer)]

    def require_grid(self, grid: Grid) -> None:
        """Raises UserError for a grid with other frames than in training, or more than a learned table of positions
        has.
        """
        trained = self.spec.grid
        if tuple(grid[1:]) != tuple(trained[1:]) or grid[0] < 1:
            raise UserError(
                f"the generator was trained on grids of {trained}; only the number of frames may differ, got {grid}"
            )
        if grid[0] > trained[0] and self.positions is not None and self.positions.kind == "learned":
            more = f"{grid[0]} frames are more than the {trained[0]} of the learned table of positions"
            raise UserError(f"{more}: train with model.positions spatial, sincos or none, which do not run out")

    def forward(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        condition: Conditioning,
        hidden: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
        outputs: int | None = None,
        added: Tensor | None = None,
        modulation: Tensor | None = None,
        backbone: Passes | None = None,
    ) -> Tensor:
        """Features of the row's last `outputs` positions, for the head.

        Args:
            values: (B, M) tokens, (B, M, Q) residual or (B, M, C) continuous ones. Where the layout is longer by the
                prefix, the condition's positions come first.
            layout: what the P + M, or M, positions are.
            mask: who may see whom.
            condition: from `conditions(values)`.
            hidden: (B, M) bool, positions whose token is replaced by the mask token; (B, M, U) by code: the levels of
                residual tokens, the groups of bits of binary ones.
            cache: keys and values of earlier positions.
            store: how many of the leading positions stay in the cache; all by default.
            outputs: how many of the last positions to return; all by default.
            added: (B or 1, M, dim), added to the embedded tokens; None for nothing.
            modulation: (B, M, dim), for each position. With it, class and this vector modulate the noisy positions
                (`Role.NOISY`) and nothing modulates the others (ACDiT, Hu et al. 2024); without, the class modulates
                all.
            backbone: its own one made ready for many passes (`mmgen.model.backbone.prepare`); as it is by default.

        Returns:
            (B, outputs, dim).

        Raises:
            UserError: when values and layout do not fit each other.
        """
        x = self.embedding(values, hidden)
        prefix = layout.length - values.shape[1]
        if prefix not in (0, self.prefix_length):
            raise UserError(
                f"a layout of {layout.length} positions fits neither {values.shape[1]} tokens nor those and the prefix"
            )
        if added is not None:
            x = x + added.to(x.dtype)
        if prefix:
            x = torch.cat([condition.prefix.to(x.dtype), x], dim=1)
        if self.positions is not None:
            x = x + self.positions(layout).to(x.dtype)
        if condition.frames is not None:
            x = x + condition.at(layout).to(x.dtype)
        cond, modulated = condition.vector.to(x.dtype), None
        if modulation is not None:
            cond = cond[:, None] + F.pad(modulation, (0, 0, prefix, 0)).to(x.dtype)
            modulated = layout.role == Role.NOISY
        memory = condition.attended(x.dtype)
        run: Any = backbone or self.backbone
        x = run(x, layout, mask, cond, modulated, cache=cache, store=store, memory=memory)
        return x if outputs is None else x[:, x.shape[1] - outputs :]


def _require_entrances(conditions: Conditions, backbone: Transformer) -> None:
    """Raises UserError for a condition that has no way into the backbone."""
    for name, condition in conditions.items():
        no_modulation = f"model.conditions.{name} enters by modulation alone, and the backbone has none"
        mend = "set model.backbone.modulation to adaln, or let it enter as a prefix"
        require(condition.enters != ("modulation",) or backbone.modulated, f"{no_modulation}: {mend}")
        attended = "cross_attention" in condition.enters
        missing = f"model.conditions.{name} enters by cross-attention, and the backbone has none"
        mend = "set model.backbone.cross_attention to true"
        require(not attended or backbone.cross_attention, f"{missing}: {mend}")
    idle = "model.backbone.cross_attention is true, and no condition enters by it: let one, such as TextFeatures"
    reading = any("cross_attention" in each.enters for _, each in conditions.items())
    require(reading or not backbone.cross_attention, idle)

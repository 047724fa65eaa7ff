"""The generator as a plain module: embeddings, conditioning, backbone and head. What is trained, exported, sampled
and served.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role
from mmgen.core.mask import Mask
from mmgen.core.tokens import Grid, TokenSpec
from mmgen.model.backbone import Cache, Passes, Transformer
from mmgen.model.conditioning import Condition, Conditioning, NoiseLevel, Reading
from mmgen.model.embeddings import embedding_for
from mmgen.model.embeddings.positions import AbsolutePositions, PositionKind
from mmgen.model.embeddings.ranks import RankMark
from mmgen.model.embeddings.residual import ResidualEmbedding
from mmgen.model.heads import head_for


class Generator(nn.Module):
    """Everything between tokens and the distribution of tokens; it knows no paradigm.

    Args:
        spec: the tokens it models.
        backbone: the transformer.
        classes: number of classes of the condition; 0 for an unconditional model.
        condition_dropout: share of training rows that lose their condition.
        positions: absolute position table added to the tokens, beside the backbone's rotary positions.
        noise_level: take a noise level for each noisy position, which modulates that position alone; needed to denoise
            continuous tokens and for uniform corruption. By default just for continuous tokens.
        self_conditioning: take the embedding of an earlier prediction beside each token (Chen et al. 2023).
        actions: number of actions of which one leads to each frame of a clip; 0 for none.
        head_group: of binary tokens: bits whose joint law one softmax gives, while groups are independent of each other
            (see `BitsHead`); the largest divisor of their number up to 12 by default.
        text: what the texts are like that it speaks; None for none.
        reading: how it reads them, see `Conditioning`.
        ends: rows end by themselves: the head has one more choice, END, where a row is over.
        sentinels: how many spans of a row may stand elsewhere in it, each marked by a vector of its own.
        ranks: positions whose tokens are to be recovered (`Role.NOISY`) tell by a vector when they will be.
        level_depth: blocks of a stack for each level of residual tokens after the first, over the backbone, where
            levels are generated one after the other within a position; 0 for none.
    """

    def __init__(
        self,
        spec: TokenSpec,
        backbone: Transformer,
        classes: int = 0,
        condition_dropout: float = 0.1,
        positions: PositionKind = "learned",
        noise_level: bool | None = None,
        self_conditioning: bool = False,
        actions: int = 0,
        head_group: int | None = None,
        text: Text | None = None,
        reading: Reading = "prefix",
        ends: bool = False,
        sentinels: int = 0,
        ranks: bool = False,
        level_depth: int = 0,
    ) -> None:
        super().__init__()
        self.spec, self.classes, self.actions, self.text, self.ends = spec, classes, actions, text, ends
        self.backbone = backbone
        self.embedding = embedding_for(spec, backbone.dim)
        self.positions = None if positions == "none" else AbsolutePositions(spec.grid, backbone.dim, positions)
        self.conditioning = Conditioning(classes, backbone.dim, condition_dropout, actions, text, spec.rate, reading)
        self.head = head_for(spec, backbone.dim, head_group, ends)
        self.sentinels = sentinels
        self.sentinel = nn.Embedding(sentinels, backbone.dim) if sentinels else None
        self.noise_level = NoiseLevel(backbone.dim) if _needs_level(noise_level, spec, backbone) else None
        self.previous = nn.Linear(backbone.dim, backbone.dim, bias=False) if self_conditioning else None
        if self.previous is not None:
            nn.init.zeros_(self.previous.weight)
        self.rank = RankMark(backbone.dim) if ranks else None
        self.stacks = nn.ModuleList(_stacks(spec, backbone, level_depth)) if level_depth else None

    @property
    def prefix(self) -> Layout:
        """What the positions of the condition are, at the start of every row."""
        return self.conditioning.layout

    @property
    def prefix_length(self) -> int:
        """Positions that the condition takes at the start of every row."""
        return self.conditioning.prefix_length

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def require_grid(self, grid: Grid) -> None:
        """Raises UserError where it cannot generate a grid of this (T, H, W): frames may be of any number, but for a
        table of positions that runs out, and of the trained size only.
        """
        trained = self.spec.grid
        if tuple(grid[1:]) != tuple(trained[1:]) or grid[0] < 1:
            raise UserError(
                f"the generator was trained on grids of {trained}; only the number of frames may differ, got {grid}"
            )
        if grid[0] > trained[0] and self.positions is not None and self.positions.kind == "learned":
            raise UserError(
                f"{grid[0]} frames are more than the {trained[0]} of the learned table of positions: train with"
                " model.positions spatial, sincos or none, which do not run out"
            )

    def forward(
        self,
        values: Tensor,
        layout: Layout,
        mask: Mask,
        condition: Condition,
        hidden: Tensor | None = None,
        cache: Cache | None = None,
        store: int | None = None,
        outputs: int | None = None,
        levels: Tensor | None = None,
        previous: Tensor | None = None,
        backbone: Passes | None = None,
    ) -> Tensor:
        """Features of the row's last `outputs` positions, for the head.

        Args:
            values: (B, M) tokens, (B, M, Q) residual or (B, M, C) continuous ones. Where the layout is longer by the
                prefix, the condition's positions come first.
            layout: what the P + M, or M, positions are.
            mask: who may see whom.
            condition: from `conditioning(labels, actions)`.
            hidden: (B, M) bool, positions whose token is replaced by the mask token; (B, M, Q) by level, for residual
                tokens.
            cache: keys and values of earlier positions.
            store: how many of the leading positions stay in the cache; all by default.
            outputs: how many of the last positions to return; all by default.
            levels: (B, M) noise levels in [0, 1], 0 without noise. With them, class and level modulate the noisy
                positions (`Role.NOISY`) and nothing modulates the others (ACDiT, Hu et al. 2024); without, the class
                modulates all.
            previous: (B, M, dim) embedding of an earlier prediction, `embedding.expected(probs)`.
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
        x = self._marked(x, layout.slice(prefix))
        if prefix:
            x = torch.cat([condition.prefix.to(x.dtype), x], dim=1)
        if self.positions is not None:
            x = x + self.positions(layout).to(x.dtype)
        if condition.frames is not None:
            x = x + condition.at(layout).to(x.dtype)
        if previous is not None:
            x = x + self._previous(previous, prefix).to(x.dtype)
        cond, modulated = condition.vector.to(x.dtype), None
        if levels is not None:
            cond = cond[:, None] + self._level(levels, prefix).to(x.dtype)
            modulated = layout.role == Role.NOISY
        x = (backbone or self.backbone)(x, layout, mask, cond, modulated, cache=cache, store=store)
        return x if outputs is None else x[:, x.shape[1] - outputs :]

    def deeper(
        self,
        level: int,
        features: Tensor,
        codes: Tensor,
        layout: Layout,
        mask: Mask,
        condition: Condition,
        cache: Cache | None = None,
        stack: Passes | None = None,
    ) -> Tensor:
        """Features of a row's positions for the codes of a level after the first, from those for the level before and
        the codes that they yield: as in Mogo (Fu et al. 2024), by a stack of blocks for each level.

        Args:
            level: from 1 on.
            features: (B, N, dim) for the level before, of the whole row or of what is not yet cached.
            codes: (B, N) of the level before, where each position predicts one; the codebook's size elsewhere.
            layout: what the positions are.
            mask: who may see whom.
            condition: as in `forward`.
            cache: keys and values of earlier positions in this level's stack.
            stack: that of the level made ready for many passes; as it is by default.

        Returns:
            (B, N, dim).
        """
        assert isinstance(self.embedding, ResidualEmbedding) and self.stacks is not None
        x = features + self.embedding.level(codes, level - 1).to(features.dtype)
        run = stack or self.stacks[level - 1]
        return cast(Tensor, run(x, layout, mask, condition.vector.to(x.dtype), cache=cache))

    def _marked(self, x: Tensor, own: Layout) -> Tensor:
        """Embedded tokens, whose layout is `own`, and what marks those that are no plain data."""
        if self.rank is not None:
            x = x + torch.where((own.role == Role.NOISY)[..., None], self.rank(own.rank), 0.0).to(x.dtype)
        if self.sentinel is not None:
            mark = self.sentinel(own.segment.clamp(0, self.sentinels - 1)).to(x.dtype)
            x = torch.where((own.role == Role.SENTINEL)[..., None], mark, x)
        return x

    def _level(self, levels: Tensor, prefix: int) -> Tensor:
        if self.noise_level is None:
            raise UserError("this generator takes no noise level: set model.noise_level to true")
        return self.noise_level(F.pad(levels, (prefix, 0)))

    def _previous(self, previous: Tensor, prefix: int) -> Tensor:
        if self.previous is None:
            raise UserError("this generator takes no earlier prediction: set model.self_conditioning to true")
        return F.pad(self.previous(previous), (0, 0, prefix, 0))


def _stacks(spec: TokenSpec, backbone: Transformer, depth: int) -> list[Transformer]:
    """One a level after the first."""
    if depth < 1 or spec.kind != "residual":
        raise UserError(f"level_depth {depth} must be 0, or the blocks of a stack for each level of residual tokens")
    return [backbone.sibling(depth) for _ in range(spec.levels - 1)]


def _needs_level(wanted: bool | None, spec: TokenSpec, backbone: Transformer) -> bool:
    needed = spec.kind == "continuous" if wanted is None else wanted
    if needed and not backbone.modulated:
        raise UserError("a noise level modulates the backbone: set its modulation to adaln or adaln_shared, not none")
    return needed

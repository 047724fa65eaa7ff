"""The generator as a plain module: embeddings, conditioning, backbone and head. What is trained, exported, sampled
and served.
"""

import torch
from torch import Tensor, nn

from mmgen.backbone import Cache, Transformer
from mmgen.conditioning import ClassConditioning, Condition
from mmgen.embeddings import embedding_for
from mmgen.embeddings.positions import AbsolutePositions, PositionKind
from mmgen.errors import UserError
from mmgen.heads import head_for
from mmgen.layout import Layout
from mmgen.mask import Mask
from mmgen.tokens import TokenSpec


class Generator(nn.Module):
    """Everything between tokens and the distribution of tokens; it knows no paradigm.

    Args:
        spec: the tokens it models.
        backbone: the transformer.
        classes: number of classes of the condition; 0 for an unconditional model.
        condition_dropout: share of training rows that lose their condition.
        positions: absolute position table added to the tokens, beside the backbone's rotary positions.
    """

    def __init__(
        self,
        spec: TokenSpec,
        backbone: Transformer,
        classes: int = 0,
        condition_dropout: float = 0.1,
        positions: PositionKind = "learned",
    ) -> None:
        super().__init__()
        self.spec, self.classes = spec, classes
        self.backbone = backbone
        self.embedding = embedding_for(spec, backbone.dim)
        self.positions = None if positions == "none" else AbsolutePositions(spec.grid, backbone.dim, positions)
        self.conditioning = ClassConditioning(classes, backbone.dim, condition_dropout)
        self.head = head_for(spec, backbone.dim)

    @property
    def prefix_length(self) -> int:
        """Positions that the condition takes at the start of every row."""
        return self.conditioning.prefix_length

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

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
    ) -> Tensor:
        """Features of the row's last `outputs` positions, for the head.

        Args:
            values: (B, M) tokens. Where the layout is longer by the prefix, the condition's positions come first.
            layout: what the P + M, or M, positions are.
            mask: who may see whom.
            condition: from `conditioning(labels)`.
            hidden: (B, M) bool, positions whose token is replaced by the mask token.
            cache: keys and values of earlier positions.
            store: how many of the leading positions stay in the cache; all by default.
            outputs: how many of the last positions to return; all by default.

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
        if prefix:
            x = torch.cat([condition.prefix.to(x.dtype), x], dim=1)
        if self.positions is not None:
            x = x + self.positions(layout).to(x.dtype)
        x = self.backbone(x, layout, mask, condition.vector.to(x.dtype), cache=cache, store=store)
        return x if outputs is None else x[:, x.shape[1] - outputs :]

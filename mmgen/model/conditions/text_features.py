"""A text as the vectors of a text encoder that was trained elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, prefix
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FreeText
from mmgen.model.conditions.base import Condition, Entry
from mmgen.model.conditions.text_encoders import NO_TOKEN, text_source


class TextFeatures(Condition):
    """A text as the vectors of a frozen text encoder, projected to the width of the backbone.

    A row without a text has one learned vector in the place of them. The encoder is no part of the model: it is neither
    trained nor saved with it. A digest of its weights is, so that nobody samples with another.

    Args:
        vocabulary: any text.
        spec: of the tokens.
        dim: width of the backbone.
        encoder: folder of a text encoder of transformers, or a file of stored features (`StoredFeatures`).
        enters: `prefix`, as positions in front of the row, padding being a learned vector; `modulation`, as their mean;
            `cross_attention`, as the memory of a backbone with `cross_attention`, where padding is not seen (PixArt,
            Chen et al. 2023); one or several.
        length: tokens of a text at most, of an encoder.
        dropout: see `Condition`.
        own_dropout: see `Condition`.

    Raises:
        UserError: there is no such encoder.
    """

    takes = FreeText
    default = False
    reads_text = True
    entrances = ("prefix", "modulation", "cross_attention")
    digest: Tensor

    def __init__(
        self,
        vocabulary: FreeText,
        spec: TokenSpec,
        dim: int,
        encoder: str,
        enters: tuple[Literal["prefix", "modulation", "cross_attention"], ...] = ("prefix",),
        length: int = 32,
        dropout: float = 0.1,
        own_dropout: float = 0.0,
    ) -> None:
        super().__init__(vocabulary, enters, dropout, own_dropout)
        self.encoder = encoder
        self.source = text_source(encoder, length)
        self.project = nn.Linear(self.source.size, dim)
        self.pool = nn.Linear(dim, dim) if "modulation" in enters else None
        self.none = nn.Parameter(0.5 * torch.randn(dim))
        self.padding = nn.Parameter(0.5 * torch.randn(dim)) if "prefix" in enters else None
        self.register_buffer("digest", torch.tensor([self.source.digest]))

    @property
    def layout(self) -> Layout:
        """A position for each vector, or none."""
        return prefix(self.source.length if "prefix" in self.enters else 0)

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        """(B, ids) int64."""
        return torch.full((rows, self.source.ids), NO_TOKEN)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        """values (B, ids) int64."""
        if values.shape != (rows, self.source.ids):
            raise UserError(f"{rows} encoded texts are needed, of {self.source.ids} numbers, got {tuple(values.shape)}")

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, ids) int64."""
        return self.source.encode(texts)

    def forward(self, values: Tensor, draws: Draws | None = None) -> Entry:
        """values (B, ids) int64."""
        vectors, real = self.source.vectors(values)
        projected = self.project(vectors.to(self.project.weight.dtype))
        first = torch.arange(real.shape[1], device=real.device) == 0
        none = ~real.any(1, keepdim=True) & first  # (B, L): the place of the learned vector
        projected = torch.where(none[..., None], self.none.to(projected.dtype), projected)
        real = real | none
        entry = Entry()
        if self.padding is not None:
            entry = entry._replace(prefix=torch.where(real[..., None], projected, self.padding.to(projected.dtype)))
        if self.pool is not None:
            mean = (projected * real[..., None]).sum(1) / real.sum(1, keepdim=True)
            entry = entry._replace(vector=self.pool(mean))
        if "cross_attention" in self.enters:
            entry = entry._replace(memory=projected.masked_fill(~real[..., None], 0.0), memory_mask=real)
        return entry

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Raises UserError where the weights were trained with another encoder."""
        saved = state_dict.get(f"{prefix}digest")
        if saved is not None and int(saved) != int(self.digest):
            raise UserError(
                f"encoder {self.encoder} is not the text encoder that the model was trained with: its weights differ;"
                " put that one back"
            )
        super()._load_from_state_dict(state_dict, prefix, *rest)

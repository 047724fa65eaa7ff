"""Mask: the machinery around one predicate of two positions, `sees(q, k)`.

Fields broadcast, so that one definition serves as dense boolean for SDPA (queries (b, 1, Nq, 1), keys (b, 1, 1, Nk)),
as FlexAttention's `mask_mod` (fields indexed by `b, q_idx` and `b, kv_idx`), as a picture, and for any slice of queries
against a cache of keys. Positions of different documents never meet, whatever the predicate says.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role
from mmgen.core.shape_cache import remember

Sees = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, eq=False)
class Mask:
    """Who may see whom."""

    name: str  # as in the catalogue
    sees: Sees  # predicate of a query and a key, of Layout fields alone; returns a boolean tensor
    source: str = ""  # where it comes from (paper, section)
    sentence: str = ""  # what it says, in one sentence
    leak: float = 0.0  # weight in [0, 1) that a hidden key of the same document keeps; 0 hides it for good

    def __post_init__(self) -> None:
        if not 0 <= self.leak < 1:
            raise UserError(f"mask {self.name!r}: a leak is a share from 0 up to, but not including, 1")

    @property
    def layers(self) -> "tuple[Mask, ...]":
        """Those of the blocks of a backbone, which repeat over them."""
        return (self,)

    def __and__(self, other: "Mask") -> "Mask":
        if len(self.layers) > 1 or len(other.layers) > 1:
            return by_layer(*(one & another for one, another in _paired(self, other)))
        return self._joined("and", other, lambda q, k: self.sees(q, k) & other.sees(q, k))

    def __or__(self, other: "Mask") -> "Mask":
        if len(self.layers) > 1 or len(other.layers) > 1:
            return by_layer(*(one | another for one, another in _paired(self, other)))
        return self._joined("or", other, lambda q, k: self.sees(q, k) | other.sees(q, k))

    def _joined(self, word: str, other: "Mask", sees: Sees) -> "Mask":
        name = f"{self.name} {'&' if word == 'and' else '|'} {other.name}"
        if self.leak or other.leak:
            raise UserError(f"{name!r} does not exist: a mask that leaks has no plain yes or no to combine")
        sources = "; ".join(source for source in (self.source, other.source) if source)
        return Mask(name, sees, sources, f"({self.sentence}) {word} ({other.sentence})")

    def __repr__(self) -> str:
        return f"Mask({self.name})"

    def dense(self, queries: Layout, keys: Layout) -> Tensor:
        """(b, 1, Nq, Nk) bool, True where the query may see the key. Shared layouts (b = 1) are cached."""
        return _cached_dense(self, queries, keys) if queries.batch == keys.batch == 1 else _dense(self, queries, keys)

    def bias(self, queries: Layout, keys: Layout) -> Tensor:
        """(b, 1, Nq, Nk) float to add to the scores: 0 where visible, log(leak) where hidden, -inf across documents."""
        together = queries.document[:, None, :, None] == keys.document[:, None, None, :]
        hidden = torch.where(together, math.log(self.leak) if self.leak else -math.inf, -math.inf)
        return torch.where(self.dense(queries, keys), 0.0, hidden)

    def mask_mod(self, queries: Layout, keys: Layout) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """The same predicate as FlexAttention wants it."""

        def mod(b: Tensor, h: Tensor, q_index: Tensor, k_index: Tensor) -> Tensor:
            q = _View(queries, lambda field: field[b if queries.batch > 1 else 0, q_index])
            k = _View(keys, lambda field: field[b if keys.batch > 1 else 0, k_index])
            return self.sees(q, k) & (q.document == k.document)

        return mod

    def block_mask(self, queries: Layout, keys: Layout) -> Any:
        """FlexAttention's BlockMask; cached for shared layouts."""
        return (
            _cached_block_mask(self, queries, keys)
            if queries.batch == keys.batch == 1
            else _block_mask(self, queries, keys)
        )

    def fast_path(self, queries: Layout, keys: Layout) -> Literal["full", "causal"] | None:
        """What SDPA can do without a mask tensor: `full` where all see all, `causal` for a plain lower triangle."""
        if queries.batch > 1 or keys.batch > 1 or self.leak:
            return None  # rows differ, and looking at the values would make the device wait
        return _cached_fast_path(self, queries, keys)

    def require_cacheable(self, layout: Layout, step: Tensor) -> None:
        """Raise UserError with the reason when cached decoding under this mask would differ from full recomputation."""
        if obstacle := self.obstacle(layout, step):
            raise UserError(f"mask {self.name!r} cannot be decoded with a cache: {obstacle}")

    def obstacle(self, layout: Layout, step: Tensor) -> str | None:
        """Why keys and values of a whole row change once computed, where position n is final in iteration step[n], step
        (N,) or (b, N), and NOISY positions are never cached; None where they do not.
        """
        sees, step = self.bias(layout, layout)[:, 0] > -math.inf, step.view(-1, layout.length)  # a leak sees a little
        noisy = layout.role == Role.NOISY
        stored = ~noisy[:, :, None]
        troubles = {
            "a position that is kept sees a corrupted one, whose input is not final": stored & noisy[:, None, :],
            "a position sees one that is generated later": (step[:, None, :] > step[:, :, None]) & stored,
        }
        for reason, trouble in troubles.items():
            pairs = (sees & trouble).nonzero()
            if len(pairs):
                leaks = ", through its leak" if self.leak else ""
                return f"{reason} (query {int(pairs[0, 1])} sees key {int(pairs[0, 2])}{leaks})"
        return None


@dataclass(frozen=True, eq=False, repr=False)
class LayeredMask(Mask):
    """Masks of the first block, the second, and so on, which repeat. By itself it shows what any of them shows, so that
    the checks of a paradigm and of a cache hold for every block.
    """

    masks: tuple[Mask, ...] = ()

    @property
    def layers(self) -> tuple[Mask, ...]:
        """Those of the blocks of a backbone, which repeat over them."""
        return self.masks

    def bias(self, queries: Layout, keys: Layout) -> Tensor:
        """The largest of any block."""
        return reduce(torch.maximum, (mask.bias(queries, keys) for mask in self.masks))


def by_layer(*masks: Mask) -> Mask:
    """Masks that repeat over the blocks of a backbone; a single one is itself."""
    if len(masks) == 1:
        return masks[0]
    sources = dict.fromkeys(mask.source for mask in masks if mask.source)

    def sees(q: Any, k: Any) -> Tensor:
        return reduce(torch.logical_or, (mask.sees(q, k) for mask in masks))

    return LayeredMask(
        ", ".join(mask.name for mask in masks), sees, "; ".join(sources),
        "By block: " + " / ".join(mask.sentence for mask in masks), max(mask.leak for mask in masks), masks,
    )  # fmt: skip


def _paired(one: Mask, other: Mask) -> list[tuple[Mask, Mask]]:
    count = math.lcm(len(one.layers), len(other.layers))
    return [(one.layers[i % len(one.layers)], other.layers[i % len(other.layers)]) for i in range(count)]


class _Place(NamedTuple):  # torch.compile traces a named tuple, and no SimpleNamespace
    t: Tensor
    h: Tensor
    w: Tensor


class _View:
    """A Layout's fields seen through an index or a reshape, made only when the predicate asks for them."""

    def __init__(self, layout: Layout, change: Callable[[Tensor], Tensor]) -> None:
        self._layout, self._change = layout, change

    def __getattr__(self, name: str) -> Any:
        field = getattr(self._layout, name)
        if name == "position":
            return _Place(*(self._change(axis) for axis in field.unbind(-1)))
        return self._change(field)


def _dense(mask: Mask, queries: Layout, keys: Layout) -> Tensor:
    q = _View(queries, lambda field: field[:, None, :, None])
    k = _View(keys, lambda field: field[:, None, None, :])
    visible = mask.sees(q, k) & (q.document == k.document)
    return visible.expand(max(queries.batch, keys.batch), 1, queries.length, keys.length)


def _block_mask(mask: Mask, queries: Layout, keys: Layout) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    batch = max(queries.batch, keys.batch)
    mod = mask.mask_mod(queries, keys)
    return create_block_mask(
        mod, batch if batch > 1 else None, None, queries.length, keys.length, device=queries.rank.device
    )


def _fast_path(mask: Mask, queries: Layout, keys: Layout) -> Literal["full", "causal"] | None:
    visible = _cached_dense(mask, queries, keys)[0, 0]
    if bool(visible.all()):
        return "full"
    if queries.length == keys.length and torch.equal(visible, torch.ones_like(visible).tril()):
        return "causal"
    return None


# Layouts and masks hash by identity, and the cached constructors of mmgen.core.layout hand out one object a shape.
_cached_dense = remember(256)(_dense)
_cached_block_mask = remember(256)(_block_mask)
_cached_fast_path = remember(256)(_fast_path)

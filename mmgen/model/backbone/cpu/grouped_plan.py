"""How to attend without what is hidden: groups of queries, each with the stretches of keys that it may see."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor

from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.shape_cache import remember

WORTH = 0.85  # share of the dense cost from which on groups are not worth their trouble
LEAST = 256 * 256  # pairs of a query and a key below which a dense mask costs next to nothing
_TILE = 64  # queries and keys of a tile; where most hold a visible pair, a plan is not even looked for
_STEP = 32  # queries between two places where a group may begin, unless much changes there; keys in a gap that is kept
_LARGEST = 512  # queries a group, unless they all see the same
_SPLIT = 512  # keys that all of a group sees, from which on they are a stretch of their own, without a mask
# What kernels cost besides their pairs, in pairs, as measured with six heads of 64 channels on a CPU with AVX2.
_CALL = 2_000  # a stretch
_LINE = 16  # a key, as if a group had so many queries more
_JOIN = 10  # a query, as if it saw so many keys more in each stretch


@dataclass(frozen=True, eq=False)
class Stretch:
    """Neighbouring keys that a group of queries looks at."""

    keys: slice
    bias: Tensor | None  # (1, 1, n, m) float32 for the scores, 0 or -inf; None where all are visible
    blind: Tensor | None  # (n,) bool, queries that see none of these keys; None where all see some


@dataclass(frozen=True, eq=False)
class Group:
    """Neighbouring queries, and all keys that any of them sees, in stretches without overlap."""

    queries: slice
    stretches: tuple[Stretch, ...]

    @property
    def cost(self) -> int:
        """In pairs of a query and a key."""
        return sum(_cost(_length(self.queries), _length(each.keys), 1) for each in self.stretches)


Plan = tuple[Group, ...]


def plan(mask: Mask, queries: Layout, keys: Layout) -> Plan | None:
    """Groups that cover all queries; None where they would save too little, or rows of a batch differ."""
    if mask.leak or queries.batch > 1 or keys.batch > 1 or queries.length * keys.length < LEAST:
        return None
    return _cached_plan(mask, queries, keys)


def _plan(mask: Mask, queries: Layout, keys: Layout) -> Plan | None:
    visible = mask.dense(queries, keys)[0, 0]
    if not bool(visible.any(1).all()):
        return None  # a query that sees nothing has no softmax, and what comes out is up to the dense kernel
    ends = (0, -visible.shape[1] % _TILE, 0, -visible.shape[0] % _TILE)
    tiles = reduce(F.pad(visible, ends), "(r i) (c j) -> r c", "any", i=_TILE, j=_TILE)
    if float(tiles.float().mean()) > WORTH:
        return None
    known: dict[tuple[int, bytes], Tensor] = {}
    groups = tuple(Group(part, tuple(_stretches(visible[part], known))) for part in _parts(visible))
    dense = Group(slice(0, queries.length), (Stretch(slice(0, keys.length), None, None),))
    return groups if sum(group.cost for group in groups) < WORTH * dense.cost else None


_cached_plan = remember(256)(_plan)


def _parts(visible: Tensor) -> list[slice]:
    """The cheapest cut of the queries into groups, by dynamic programming over the places where one may begin."""
    borders = _borders(visible)
    runs = len(borders) - 1
    seen = _close(torch.stack([visible[a:b].any(0) for a, b in zip(borders, borders[1:])]))
    best, before, union = [0] + [2**62] * runs, [0] * (runs + 1), seen
    prices: list[list[int]] = []  # [runs together - 1][first run]
    for together in range(1, runs + 1):
        if together > 1:
            union = union[:-1] | seen[together - 1 :]
        sizes = torch.tensor([borders[i + together] - borders[i] for i in range(runs - together + 1)])
        if together > 1 and int(sizes.min()) > _LARGEST:
            break
        beginnings = (union & ~F.pad(union, (1, 0))[:, :-1]).sum(1)
        price = _cost(sizes, union.sum(1), beginnings)
        prices.append(torch.where(sizes > _LARGEST, 2**62 if together > 1 else price, price).tolist())
    for end in range(1, runs + 1):
        for together in range(1, min(end, len(prices)) + 1):
            price = best[end - together] + prices[together - 1][end - together]
            if price < best[end]:
                best[end], before[end] = price, end - together
    parts, end = [], runs
    while end:
        parts.append(slice(borders[before[end]], borders[end]))
        end = before[end]
    return parts[::-1]


def _cost(queries, keys, stretches):  # type: ignore[no-untyped-def]  # numbers, or many at once
    return (queries + _LINE) * keys + (_CALL + _JOIN * queries) * stretches


def _borders(visible: Tensor) -> list[int]:
    """Where a group may begin, and the end: every few queries, and wherever many keys come or go."""
    changes = (visible[1:] != visible[:-1]).sum(1).tolist()
    borders = [0]
    for query, changed in enumerate(changes, start=1):
        if changed >= _STEP or (changed and query - borders[-1] >= _STEP):
            borders.append(query)
    if len(borders) > 2 * len(visible) // _STEP:  # each query sees something else: no place is better than others
        borders = list(range(0, len(visible), _STEP))
    return [*borders, len(visible)]


def _close(seen: Tensor) -> Tensor:
    """Without gaps of a few keys, which cost less than another stretch: (runs, keys) bool."""
    wide = F.max_pool1d(F.pad(seen.float(), (_STEP, _STEP)), _STEP, stride=1)
    return -F.max_pool1d(-wide, _STEP, stride=1)[:, 1 : seen.shape[1] + 1] > 0


def _stretches(visible: Tensor, known: dict[tuple[int, bytes], Tensor]) -> Iterator[Stretch]:
    """Of one group, whose lines of the dense mask these are."""
    everybody = visible.all(0)
    for keys in _runs(_close(visible.any(0)[None])[0]):
        full = max(_runs(everybody[keys]), key=_length, default=slice(0, 0))
        cuts = [keys.start, keys.stop]
        if _length(full) >= _SPLIT:
            cuts = sorted({*cuts, keys.start + full.start, keys.start + full.stop})
        for start, stop in zip(cuts, cuts[1:]):
            yield _stretch(visible[:, start:stop], slice(start, stop), known)


def _stretch(visible: Tensor, keys: slice, known: dict[tuple[int, bytes], Tensor]) -> Stretch:
    if bool(visible.all()):
        return Stretch(keys, None, None)
    seeing = visible.any(1)
    same = (len(visible), visible.numpy().tobytes())  # one bias for all groups that look alike
    if same not in known:
        known[same] = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)[None, None]
    return Stretch(keys, known[same], None if bool(seeing.all()) else ~seeing)


def _runs(flags: Tensor) -> list[slice]:
    """Stretches of True in (n,) bool."""
    steps = F.pad(flags.int(), (1, 1)).diff()
    return [slice(a, b) for a, b in zip((steps > 0).nonzero()[:, 0].tolist(), (steps < 0).nonzero()[:, 0].tolist())]


def _length(part: slice) -> int:
    return part.stop - part.start

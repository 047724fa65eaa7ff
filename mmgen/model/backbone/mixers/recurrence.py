"""A gated linear recurrence: a mixer whose state has the same size however long a row is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import require
from mmgen.core.layout import Layout, Role
from mmgen.core.mask import Mask
from mmgen.core.shape_cache import remember
from mmgen.model.backbone.cache import BlockCache
from mmgen.model.backbone.context import Context
from mmgen.model.backbone.mixers.base import Mixer, MixerShape


class Recurrence(Mixer):
    """h_n = (1 - z_n) h_(n-1) + z_n v_n for each channel, times a gate, where z, v and the gate come from position n
    alone (minGRU, Feng et al. 2024). It begins anew in each document and passes over padding.

    Args:
        shape: of the backbone; its width and bias count.
    """

    recurrent = True

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        dim, bias = shape.dim, shape.bias
        self.project = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, context: Context, cache: BlockCache | None = None) -> Tensor:
        """x (B, N, dim) -> (B, N, dim)."""
        assert context.layout is not None, "a recurrence is not compiled: it reads what positions are"
        update, value, gate = self.project(x).chunk(3, dim=-1)
        update = update.sigmoid()
        document = context.layout.document.expand(len(x), -1)
        state, last = (None, None) if cache is None or cache.state is None else cache.state
        decay, last = _decay(1 - update, document, last)
        states = _scan(decay, torch.where(document[..., None] >= 0, update * value, 0.0), state)
        if cache is not None and cache.stored:
            cache.state = states[:, cache.stored - 1], last[:, cache.stored - 1]
        return self.out(states * F.silu(gate))

    def require(self, mask: Mask, queries: Layout, keys: Layout) -> None:
        """Raises UserError unless each position sees all of its document up to itself, and nothing else."""
        shared = queries.batch == keys.batch == 1
        causal = (_cached_is_causal if shared else _is_causal)(mask, queries, keys)
        message = f"mask {mask.name!r} does not suit a recurrent mixer, which sees all that comes before: use causal"
        require(causal, message)


def _decay(decay: Tensor, document: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """What is left of the state at each position, 0 where a document begins and all at padding; and (B, N) the document
    of the last real position up to each.
    """
    real = document >= 0
    index = torch.where(real, torch.arange(1, document.shape[1] + 1, device=document.device), 0).cummax(1).values
    first = torch.full_like(document[:, :1], -1) if before is None else before[:, None]
    last = torch.cat([first, document], dim=1).gather(1, index)
    previous = torch.cat([first, last[:, :-1]], dim=1)
    goes_on = (~real | (previous == document))[..., None]
    return torch.where(real[..., None], decay, 1.0) * goes_on, last


def _scan(decay: Tensor, new: Tensor, state: Tensor | None) -> Tensor:
    """All h_n = decay_n h_(n-1) + new_n, (B, N, dim), in log2 N steps (Hillis and Steele 1986)."""
    if state is not None:
        new = torch.cat([torch.addcmul(new[:, :1], decay[:, :1], state[:, None]), new[:, 1:]], dim=1)
    step = 1
    while step < new.shape[1]:
        new = torch.addcmul(new, decay, F.pad(new, (0, 0, step, 0))[:, :-step])
        decay = decay * F.pad(decay, (0, 0, step, 0), value=1.0)[:, :-step]
        step *= 2
    return new


def _is_causal(mask: Mask, queries: Layout, keys: Layout) -> bool:
    count, earlier = keys.length, keys.length - queries.length
    order = torch.ones(queries.length, count, dtype=torch.bool, device=keys.rank.device).tril(earlier)
    together = (queries.document[:, None, :, None] == keys.document[:, None, None, :]) & (
        keys.document[:, None, None, :] >= 0
    )
    visible, prefix = mask.dense(queries, keys) & together, (keys.role == Role.PREFIX)[:, None, None]
    return bool(((visible == (order & together)) | (prefix & ~order)).all())


_cached_is_causal = remember(256)(_is_causal)

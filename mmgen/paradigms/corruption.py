"""Corrupting discrete tokens: hidden block by block, with weights that make the loss a bound; or replaced."""

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.paradigms.schedules import ScheduleName, hidden_count


def replace(codes: Tensor, choices: int, share: float | Tensor, name: str, draws: Draws) -> Tensor:
    """Units of codes (B, n, K) of which a share, one number or (B, n), is replaced by uniformly random codes below
    `choices`: noise on a history of discrete tokens (MAGI, Zhou et al. 2025, section 3.3).
    """
    other = (draws.uniform(name, *codes.shape[1:]) * choices).long()
    return torch.where((draws.uniform(f"{name}/replaced", codes.shape[1]) < share)[..., None], other, codes)


def hide(block: Tensor, blocks: int, real: Tensor, schedule: ScheduleName, draws: Draws) -> tuple[Tensor, Tensor]:
    """Hide a random number of positions (or of units of them, see `Codes`) in each block, and weigh them.

    In a block of n positions k are hidden, k = ceil(share(u) n) with u uniform, and each weighs n / (k N) in a row of
    N. Under the linear schedule k is uniform on 1..n, and the weighted cross-entropy is the order-agnostic bound on
    the negative log-likelihood per token (ARDM, Hoogeboom et al. 2022, equation 5), equal in expectation to the
    continuous-time bounds of MD4 and BD3-LM. With one position a block it is the autoregressive likelihood itself.

    Args:
        block: (N,) int64 block numbers from 0, ascending, or (B, N) where rows have blocks of their own.
        blocks: how many there are, at most.
        real: (B, N) bool, False for padding, which is never hidden.
        schedule: law of the hidden share.
        draws: a stream a sample.

    Returns:
        hidden (B, N) bool and weights (B, N) float64, 0 where visible.
    """
    batch, length = real.shape
    index = block.expand(batch, -1)
    size = torch.zeros(batch, blocks, dtype=torch.int64, device=real.device).scatter_add_(1, index, real.long())
    count = hidden_count(schedule, draws.uniform("hidden_share", blocks), size)
    # Sorting by (block, padding last, chance) puts the chosen ones of each block at its beginning.
    order = (block + torch.where(real, draws.uniform("hidden_order", length) / 2, 0.75)).argsort(dim=1)
    place = order.argsort(dim=1)
    numbers = torch.arange(blocks, device=block.device).expand(*block.shape[:-1], -1)
    start = torch.searchsorted(block, numbers.contiguous()).expand(batch, -1)
    hidden = real & (place - start.gather(1, index) < count.gather(1, index))
    weight = size / (count.clamp_min(1) * real.sum(1, keepdim=True))
    return hidden, torch.where(hidden, weight.double().gather(1, index), 0.0)

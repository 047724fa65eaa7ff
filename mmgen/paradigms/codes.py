"""Codes of tokens: what is hidden, replaced and revealed.

A token has one code (of one codebook), one for each level (residual tokens), or one for each group of its bits.
Paradigms corrupt *units*: single codes, or all codes of a token together. A row of N tokens is a flat row of N U units
of K codes each, position after position; U K is the number of codes a token.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import require_one_of
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms.decoding import unmask
from mmgen.paradigms.schedules import ScheduleName, hidden_count

Unit = Literal["code", "token"]


def require_unit(unit: Unit | None) -> Unit | None:
    """The unit, if there is one of that name; UserError otherwise."""
    if unit is not None:
        require_one_of("unit", unit, get_args(Unit))
    return unit


class Codes:
    """The codes of a generator's tokens in their units.

    Args:
        generator: whose tokens they are.
        unit: `code`, each on its own, or `token`, all codes of a token together; by default the codes of residual
            tokens each on its own, and those of binary tokens together.
        paradigm: named in the error.

    Raises:
        UserError: tokens that have no codes.
    """

    def __init__(self, generator: Generator, unit: Unit | None, paradigm: str) -> None:
        self.head = require_choices(generator.head, paradigm)
        apart = generator.spec.kind == "residual" if unit is None else unit == "code"
        self.units = self.head.groups if apart else 1

    def split(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N) or (B, N, Q) -> codes (B, N U, K)."""
        return rearrange(self.head.split(tokens), "b n (u k) -> b (n u) k", u=self.units)

    def join(self, codes: Tensor) -> Tensor:
        """Inverse of `split`."""
        return self.head.join(rearrange(codes, "b (n u) k -> b n (u k)", u=self.units))

    def spread(self, x: Tensor) -> Tensor:
        """What positions have, (..., N), for each unit, (..., N U)."""
        return x if self.units == 1 else x.repeat_interleave(self.units, -1)

    def by_token(self, x: Tensor) -> Tensor:
        """What units have, (B, N U), as generators and losses take it: (B, N, U), or (B, N) where tokens are units."""
        return x if self.units == 1 else rearrange(x, "b (n u) -> b n u", u=self.units)

    def complete(self, known: Tensor) -> Tensor:
        """Positions (B, N) of which all units (B, N U) bool are known."""
        return known if self.units == 1 else self.by_token(known).all(-1)

    def logits(self, logits: Tensor) -> Tensor:
        """(B, N, groups, choices) -> (B, N U, K, choices)."""
        return rearrange(logits, "b n (u k) v -> b (n u) k v", u=self.units)

    def hide(
        self, block: Tensor, blocks: int, real: Tensor, schedule: ScheduleName, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """`hide` over units, block and real by position; what is hidden and its weights (nats), by token."""
        hidden, weights = hide(self.spread(block), blocks, self.spread(real), schedule, draws)
        return self.by_token(hidden), self.by_token(self.units * weights)

    def replace(self, tokens: Tensor, share: float | Tensor, name: str, draws: Draws) -> Tensor:
        """Tokens of which a share of the units, one number or (B, N), has uniformly random codes (noise on a history:
        MAGI, Zhou et al. 2025, section 3.3).
        """
        share = self.spread(share.expand(-1, tokens.shape[1])) if isinstance(share, Tensor) else share
        codes = self.split(tokens)
        noise = (draws.uniform(name, *codes.shape[1:]) * self.head.choices).long()
        replaced = draws.uniform(f"{name}/replaced", codes.shape[1]) < share
        return self.join(torch.where(replaced[..., None], noise, codes))

    def unmask(
        self, predict: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, committed: Tensor, *rules: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`decoding.unmask` over units.

        Args:
            predict: (tokens, hidden as `by_token`) -> logits (B, N, groups, choices), guided, float64.
            tokens: with the known positions filled in.
            committed: (B, N) bool, positions that are known.
            rules: all further arguments of `decoding.unmask`.

        Yields:
            tokens, and positions (B, N) that are complete, after each step.
        """

        def by_unit(codes: Tensor, known: Tensor) -> Tensor:
            return self.logits(predict(self.join(codes), self.by_token(~known)))

        for codes, known in unmask(by_unit, self.split(tokens), self.spread(committed), *rules):
            yield self.join(codes), self.complete(known)


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


def known_share(hidden: Tensor, real: Tensor) -> Tensor:
    """(B,) share of what is real that is not hidden: hidden (B, N) or (B, N, U), real (B, N)."""
    known = ~hidden.unsqueeze(-1) if hidden.dim() == 2 else ~hidden
    return (known & real[..., None]).sum((1, 2)).double() / (known.shape[-1] * real.sum(1))

"""Codes of tokens: what is hidden, replaced and revealed.

A token has one code (of one codebook), one for each level (residual tokens), or one for each group of its bits.
Paradigms corrupt *units*: single codes, or all codes of a token together. A row of N tokens is a flat row of N U units
of K codes each, position after position; U K is the number of codes a token.
"""

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from einops import rearrange
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, nearest
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import corruption
from mmgen.paradigms.decoding import Decoding, unmask
from mmgen.paradigms.schedules import RevealScheduleName, ScheduleName

Unit = Literal["code", "token"]


def require_unit(unit: Unit | None) -> Unit | None:
    """The unit, if there is one of that name; UserError otherwise."""
    if unit is not None and unit not in get_args(Unit):
        raise UserError(f"unit {unit!r} is not one of {', '.join(get_args(Unit))}{nearest(unit, get_args(Unit))}")
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
        """`corruption.hide` over units: block and real by position; what is hidden and its weights as `by_token`, such
        that the weighted sum is in nats per token.
        """
        hidden, weights = corruption.hide(self.spread(block), blocks, self.spread(real), schedule, draws)
        return self.by_token(hidden), self.by_token(self.units * weights)

    def replace(self, tokens: Tensor, share: float | Tensor, name: str, draws: Draws) -> Tensor:
        """Tokens of which a share of the units, one number or (B, N), has random codes."""
        share = self.spread(share.expand(-1, tokens.shape[1])) if isinstance(share, Tensor) else share
        return self.join(corruption.replace(self.split(tokens), self.head.choices, share, name, draws))

    def unmask(
        self,
        predict: Callable[[Tensor, Tensor], Tensor],
        tokens: Tensor,
        committed: Tensor,
        decoding: Decoding,
        schedule: RevealScheduleName,
        steps: int,
        draws: Draws,
        name: str,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Reveal the open positions, several units a step: the units of a step are independent given the earlier ones.

        Args:
            predict: (tokens, hidden as `by_token`) -> logits (B, N, groups, choices), guided, float64.
            tokens: with the known positions filled in.
            committed: (B, N) bool, positions that are known.
            decoding: as for `decoding.unmask`, as all that follows.

        Yields:
            tokens, and positions (B, N) that are complete, after each step.
        """

        def by_unit(codes: Tensor, known: Tensor) -> Tensor:
            return self.logits(predict(self.join(codes), self.by_token(~known)))

        states = unmask(by_unit, self.split(tokens), self.spread(committed), decoding, schedule, steps, draws, name)
        for codes, known in states:
            yield self.join(codes), self.complete(known)


def known_share(hidden: Tensor, real: Tensor) -> Tensor:
    """(B,) share of what is real that is not hidden: hidden (B, N) or (B, N, U), real (B, N)."""
    known = ~hidden.unsqueeze(-1) if hidden.dim() == 2 else ~hidden
    return (known & real[..., None]).sum((1, 2)).double() / (known.shape[-1] * real.sum(1))

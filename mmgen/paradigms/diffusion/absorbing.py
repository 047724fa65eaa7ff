"""Absorbing corruption: tokens turn into the mask token, and the way back reveals them (MD4, Shi et al. 2024), or hides
some of them again (ReMDM, Wang et al. 2025).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.tokens import Grid, Tokens
from mmgen.model.heads import ChoiceHead
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms.base import Corrupted, State, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions
from mmgen.paradigms.codes import Codes
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.diffusion.corruption import LEAST_SHARE, Denoiser, DiscreteNoise


class Absorbing(DiscreteNoise):
    """Each unit, a code or a token, is hidden with probability 1 - alpha_t, independently of the others."""

    def layout(self, prefix: Layout, grid: Grid, device: torch.device) -> Layout:
        return row_layout(prefix, grid, device)

    def corrupt(self, tokens: Tokens, codes: Codes, layout: Layout, mask: Mask, draws: Draws, early: bool) -> Corrupted:
        """What is hidden predicts itself, with weight -alpha' / (1 - alpha) / N (Shi et al. 2024, section 3)."""
        (time, weight), real = self.times(draws, early), real_positions(tokens.values, tokens.lengths)
        share = self.schedule.share(time)
        chance = draws.uniform("hidden", codes.units * real.shape[1])
        hidden = codes.spread(real) & (chance < share)
        weight = hidden * (weight * self.schedule.rate(time) / share / real.sum(1, keepdim=True))
        return Corrupted(tokens.values, codes.by_token(hidden), layout, mask, tokens.values, codes.by_token(weight))

    def nats(self, head: ChoiceHead, features: Tensor, row: Corrupted) -> Tensor:
        return head.nats(features, row.targets) if row.weights.dim() == 2 else head.nats_by_group(features, row.targets)

    def remainder(self, head: ChoiceHead) -> float:
        """The few tokens that are hidden at the first time are drawn uniformly."""
        return LEAST_SHARE * head.groups * math.log(head.choices)

    def sample(
        self, denoiser: Denoiser, canvas: Canvas, decoding: Decoding, steps: int, draws: Draws
    ) -> Iterator[State]:
        """What a step reveals does not depend on the network: it is drawn first, and rows without any take no pass."""
        decoding.require_supported("mode 'diffusion' with absorbing corruption", "remask")
        codes = denoiser.codes
        values, real = codes.split(canvas.tokens), codes.spread(canvas.real)
        (length, size), moves = values.shape[1:], self.moves(steps, decoding)
        known = codes.spread(canvas.committed)
        hidden = ~known
        for step, move in enumerate(moves):
            if bool(canvas.committed.all()):
                return
            revealed = hidden & (draws.uniform(f"diffusion/reveal/{step}", length) < move.reveal)
            remasked = ~hidden & ~known & (draws.uniform(f"diffusion/remask/{step}", length) < move.remask)
            rows = revealed.any(1).nonzero()[:, 0]
            if len(rows):
                progress = (~hidden & real).sum(1).double() / real.sum(1)
                unknown = codes.by_token(hidden)
                logits = denoiser.predict(rows, canvas.tokens, unknown, progress, hidden=unknown)
                logits = codes.logits(denoiser.model.guided(logits, progress[rows]))
                uniform = draws.rows(rows).uniform(f"diffusion/token/{step}", length, size)
                drawn = values.index_copy(0, rows, draw(distribution(logits, decoding), uniform))
                values = torch.where(revealed[..., None], drawn, values)
                canvas.tokens = codes.join(values)
            hidden = (hidden & ~revealed) | remasked
            final = all(later.remask == 0 for later in moves[step + 1 :])
            before, canvas.committed = canvas.committed, codes.complete(~hidden if final else known)
            if bool((revealed | remasked).any()) or not torch.equal(before, canvas.committed):
                yield canvas.state(step + 1, 0, denoiser.model.forward_passes, drafted=codes.complete(~hidden))

    def moves(self, steps: int, decoding: Decoding) -> list["Move"]:
        """What each of `steps` steps does."""
        loop = 0
        if decoding.remask == "loop":
            loop = min(round(decoding.remask_share * steps), steps - 1)
        shares = self.shares(steps - loop).tolist()
        eta = decoding.remask_eta if decoding.remask == "cap" else 0.0
        moves = [move(now, after, eta) for now, after in zip(shares, shares[1:])]
        begin = next(i for i, share in enumerate(shares) if 1 - share >= decoding.remask_at or i + 1 == steps - loop)
        return moves[:begin] + [move(shares[begin], shares[begin], decoding.remask_eta)] * loop + moves[begin:]


@dataclass(frozen=True)
class Move:
    """One step: reveal each hidden token with one probability, and hide each revealed one with the other."""

    reveal: float
    remask: float


def move(now: float, after: float, eta: float) -> Move:
    """From one share of hidden tokens to another, hiding revealed ones with probability sigma = min(eta, (1 - alpha_s)
    / alpha_t), above which too many would be hidden after the step (ReMDM-cap, Wang et al. 2025, section 4).
    """
    alpha = 1 - now
    sigma = min(eta, after / alpha) if alpha > 0 else 0.0
    return Move((now - after + sigma * alpha) / now, sigma)

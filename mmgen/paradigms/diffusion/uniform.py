"""Uniform corruption: tokens turn into random ones, and every position stays open to the end (UDLM, Schiff et al.
2025).

The network predicts the leave-one-out law x', the law of a symbol given all others. A symbol is one choice of the head:
a token, one of its levels, or a group of its bits.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout, grid_layout, noisy
from mmgen.core.mask import Mask
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid, Tokens
from mmgen.model.heads import ChoiceHead
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms.base import Corrupted, State
from mmgen.paradigms.canvas import Canvas, real_positions, where
from mmgen.paradigms.codes import Codes
from mmgen.paradigms.decoding import Decoding, token_entropy
from mmgen.paradigms.diffusion.corruption import LEAST_SHARE, Denoiser, DiscreteNoise
from mmgen.paradigms.schedules import time_grid


class Uniform(DiscreteNoise):
    """Each symbol becomes a uniform one with probability 1 - alpha_t; the noise level of every position is the time."""

    tells_time = True

    def layout(self, prefix: Layout, grid: Grid, device: torch.device) -> Layout:
        return _noisy_layout(prefix, grid, device)

    def corrupt(self, tokens: Tokens, codes: Codes, layout: Layout, mask: Mask, draws: Draws, early: bool) -> Corrupted:
        """Every real position predicts its clean token."""
        (time, weight), real = self.times(draws, early), real_positions(tokens.values, tokens.lengths)
        head = codes.head
        shape = real.shape[1], head.groups
        replaced = draws.uniform("replaced", *shape) < self.schedule.share(time)[..., None]
        values = head.join(torch.where(replaced, symbols(draws, "symbol", head, shape[0]), head.split(tokens.values)))
        weights = weight * real / real.sum(1, keepdim=True)
        return Corrupted(values, None, layout, mask, tokens.values, weights, levels=time.expand_as(weights))

    def nats(self, head: ChoiceHead, features: Tensor, row: Corrupted) -> Tensor:
        """-alpha' / (V alpha) times the divergence (Schiff et al. 2025, section 4), summed over a token's symbols."""
        assert row.levels is not None
        logits = head.logits(features)
        law = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
        share = self.schedule.share(row.levels)
        factor = self.schedule.rate(row.levels) / (head.choices * (1 - share).clamp_min(1e-12))
        each = divergence(law, head.split(row.targets), head.split(row.values), share[..., None].to(law.dtype))
        return factor.to(law.dtype) * each.sum(-1)

    def remainder(self, head: ChoiceHead) -> float:
        """What is left at the first time is decoded by the corruption itself, whose matrix is its own transpose."""
        other = LEAST_SHARE / head.choices
        same = 1 - LEAST_SHARE + other
        return -head.groups * (same * math.log(same) + (head.choices - 1) * other * math.log(other))

    def sample(
        self, denoiser: Denoiser, canvas: Canvas, decoding: Decoding, steps: int, draws: Draws
    ) -> Iterator[State]:
        """Every step redraws all symbols. Rows that stop early become their most probable tokens at no further pass."""
        decoding.require_supported("mode 'diffusion' with uniform corruption", "stop_entropy")
        head, length = denoiser.codes.head, canvas.length
        unknown = ~canvas.committed
        noise = head.join(symbols(draws, "diffusion/start", head, length))
        canvas.tokens = where(unknown, noise, canvas.tokens)
        stop = None if decoding.stop_entropy is None else Stop(unknown, decoding.stop_entropy)
        known, shares = 1 - unknown.sum(1).double() / canvas.real.sum(1), self.shares(steps).tolist()
        times = time_grid(self.grid, steps).tolist()
        for step, (now, after) in enumerate(zip(shares, shares[1:])):
            rows = (~canvas.committed).any(1).nonzero()[:, 0]
            if not len(rows):
                return
            levels, progress = unknown.double() * times[step], known + (1 - known) * (1 - now)
            logits = denoiser.predict(rows, canvas.tokens, unknown, progress, levels=levels)
            mix, symbol = partial(denoiser.model.guided, progress=progress[rows]), head.split(canvas.tokens[rows])
            uniform = draws.rows(rows).uniform(f"diffusion/token/{step}", length, head.groups)
            tokens = head.join(draw(guided_reverse(logits, symbol, now, after, decoding, mix), uniform))
            finished = torch.full_like(rows, step + 1 == steps, dtype=torch.bool)
            if stop is not None:
                posterior = guided_reverse(logits, symbol, now, 0.0, decoding, mix)
                best = posterior.argmax(-1)
                stops = stop(rows, best, posterior)
                tokens = where(stops[:, None], head.join(best), tokens)
                finished |= stops
            drawn = canvas.tokens.index_copy(0, rows, tokens)
            canvas.tokens = where(unknown, drawn, canvas.tokens)
            canvas.committed = canvas.committed.index_put((rows[finished],), torch.tensor(True, device=rows.device))
            yield canvas.state(step + 1, 0, denoiser.model.forward_passes, drafted=unknown)


class Stop:
    """When a row needs no further step: the most probable tokens of its `unknown` positions (B, N) have not changed for
    two steps, and their mean entropy is below `bound` nats.
    """

    def __init__(self, unknown: Tensor, bound: float) -> None:
        self.unknown, self.bound = unknown, bound
        self.best: Tensor | None = None
        self.unchanged = torch.zeros_like(unknown[:, 0], dtype=torch.int64)

    def __call__(self, rows: Tensor, best: Tensor, probs: Tensor) -> Tensor:
        """(b,) bool: rows (b,), their most probable codes (b, N, groups), and probabilities (b, N, groups, choices)."""
        counts = self.unknown[rows]
        if self.best is None:
            self.best = best.new_full((len(self.unknown), *best.shape[1:]), -1)
        same = ((best == self.best[rows]).all(-1) | ~counts).all(1)
        self.unchanged[rows] = torch.where(same, self.unchanged[rows] + 1, 0)
        self.best[rows] = best
        mean = (token_entropy(probs) * counts).sum(1) / counts.sum(1)
        return (self.unchanged[rows] >= 2) & (mean < self.bound)


def symbols(draws: Draws, name: str, head: ChoiceHead, length: int) -> Tensor:
    """(B, length, groups) int64 uniform symbols."""
    uniform = draws.uniform(name, length, head.groups)
    return (uniform * head.choices).long().clamp_max(head.choices - 1)


def divergence(law: Tensor, target: Tensor, symbol: Tensor, share: Tensor) -> Tensor:
    """How far the corrupted law of the prediction is from that of the data, seen from the corrupted symbol z.

    With xb = (1 - alpha) + V alpha x, xb' the same of the prediction, r = xb / xb_z and r' = xb' / xb'_z it is
    sum_j r'_j - r_j - r_j log(r'_j / r_j), each term at least 0. Equal to UDLM's bracket, V / xb_z being sum_j r_j; in
    this form nothing cancels, at either end of time, in float32.

    Args:
        law: (..., choices) predicted leave-one-out law.
        target: (...) int64 clean symbols.
        symbol: (...) int64 corrupted symbols z.
        share: 1 - alpha, broadcast against (...).
    """

    def ratio(x: Tensor) -> Tensor:
        corrupted = share[..., None] + x.shape[-1] * (1 - share[..., None]) * x
        return corrupted / corrupted.gather(-1, symbol[..., None])

    data, predicted = ratio(F.one_hot(target, law.shape[-1]).to(law.dtype)), ratio(law)
    excess = predicted.log() - data.log()
    return (data * (torch.expm1(excess) - excess)).sum(-1)


def reverse(law: Tensor, symbol: Tensor, now: float, after: float) -> Tensor:
    """One step of the way back, p(z_s | z_t) up to a factor: q(z_t | z_s) q(z_s | x'), (..., choices) in float64.

    With `after` 0 it is the posterior of the clean symbol, which the leave-one-out law x' leaves z_t out of.

    Args:
        law: (..., choices) float64, x'.
        symbol: (...) int64, z_t.
        now: share 1 - alpha_t of corrupted symbols.
        after: share 1 - alpha_s.
    """
    choices, unchanged = law.shape[-1], (1 - now) / (1 - after)
    onward = unchanged * F.one_hot(symbol, choices).to(law.dtype) + (1 - unchanged) / choices
    joint = onward * ((1 - after) * law + after / choices)
    return joint / joint.sum(-1, keepdim=True)


def guided_reverse(
    logits: Tensor, symbol: Tensor, now: float, after: float, decoding: Decoding, mix: Callable[[Tensor], Tensor]
) -> Tensor:
    """`reverse` under guidance: `mix`, (halves B, ...) -> (B, ...), of the logarithms of p(z_s | z_t) with and without
    the condition, not of the logits of x', (halves B, ..., choices) float64 (D-CFG, Schiff et al. 2025, section 3).
    What top-k, top-p and temperature 0 leave out of the guided logits is left out of both laws.
    """
    law, halves = distribution(mix(logits), decoding), len(logits) // len(symbol)
    if halves == 1:
        return reverse(law, symbol, now, after)
    excluded = (law == 0).repeat(halves, *[1] * (law.dim() - 1))
    laws = (logits / (decoding.temperature or 1)).masked_fill(excluded, -torch.inf).softmax(-1)
    posteriors = reverse(laws, symbol.repeat(halves, *[1] * (symbol.dim() - 1)), now, after)
    return mix(posteriors.clamp_min(1e-300).log()).softmax(-1)


@remember(256)
def _noisy_layout(prefix: Layout, grid: Grid, device: torch.device) -> Layout:
    return (prefix + noisy(grid_layout(grid))).to(device)

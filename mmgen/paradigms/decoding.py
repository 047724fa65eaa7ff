"""Decoding rules: which tokens are drawn, and which and how many of them are committed.

The order of operations is fixed: guidance, then temperature, top-k, top-p, then one draw a group, then the choice of
positions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import require
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms.schedules import RevealScheduleName, remaining

Order = Literal["confidence", "margin", "entropy", "random"]
Select = Literal["count", "threshold", "entropy_bound"]
Remask = Literal["none", "cap", "loop"]


@dataclass(frozen=True)
class Decoding:
    """How tokens are drawn and which of them are committed in a step.

    Temperature, top-k and top-p hold in every mode (of continuous tokens the temperature alone). Order, noise, select,
    threshold and entropy_bound are for the modes `masked`, `permuted` and `block`: `ar` has its order and `diffusion`
    draws what it reveals. The remasking options are for the mode `diffusion` under absorbing corruption, and
    stop_entropy for it under uniform corruption; elsewhere they are refused.

    Args:
        temperature: divides the logits; 0 takes the most probable choice.
        top_k: keep the k most probable choices of each group.
        top_p: keep the smallest set of choices whose probability reaches p.
        order: what a step commits first: the highest probability of the drawn token (`confidence`), the largest gap
            between the two best tokens (`margin`), the lowest entropy (`entropy`), or positions at random, which is
            the one order that keeps the model's own distribution.
        noise: Gumbel noise on the confidence, MaskGIT's choice temperature: this times 1 - (s + 1) / T in step s = 0 ..
            T - 1, so that the last step has none.
        select: how many: a `count` from the schedule, all above a confidence `threshold`, or the largest set within an
            `entropy_bound`.
        threshold: probability above which the drawn token is committed; for select = threshold.
        entropy_bound: nats; for select = entropy_bound (0 commits one token a step, and any that are certain).
        remask: hide revealed tokens again, so that early mistakes can be mended (ReMDM, Wang et al. 2025): in every
            step (`cap`), or in a `loop` of steps that reveal as many as they hide.
        remask_eta: probability that a step hides a revealed token, as far as the noise level admits it; 0 is ancestral
            sampling.
        remask_at: share of the tokens that are revealed when the loop begins.
        remask_share: share of the steps that the loop takes.
        stop_entropy: nats; a row stops once its most probable tokens were the same in two more steps and their mean
            entropy is below this. None runs all steps.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    order: Order = "confidence"
    noise: float = 4.5
    select: Select = "count"
    threshold: float = 0.9
    entropy_bound: float = 0.5
    remask: Remask = "none"
    remask_eta: float = 0.05
    remask_at: float = 0.9
    remask_share: float = 0.5
    stop_entropy: float | None = None

    def __post_init__(self) -> None:
        checks = {
            f"temperature {self.temperature} must be at least 0": self.temperature >= 0,
            f"top_k {self.top_k} must be at least 1": self.top_k is None or self.top_k >= 1,
            f"top_p {self.top_p} must lie in (0, 1]": self.top_p is None or 0 < self.top_p <= 1,
            f"noise {self.noise} must be at least 0": self.noise >= 0,
            f"threshold {self.threshold} must lie in [0, 1]": 0 <= self.threshold <= 1,
            f"entropy_bound {self.entropy_bound} must be at least 0": self.entropy_bound >= 0,
            f"remask {self.remask!r} must be one of {', '.join(get_args(Remask))}": self.remask in get_args(Remask),
            f"remask_eta {self.remask_eta} must lie in [0, 1]": 0 <= self.remask_eta <= 1,
            f"remask_at {self.remask_at} must lie in [0, 1]": 0 <= self.remask_at <= 1,
            f"remask_share {self.remask_share} must lie in [0, 1)": 0 <= self.remask_share < 1,
            f"stop_entropy {self.stop_entropy} must be at least 0": self.stop_entropy is None or self.stop_entropy >= 0,
        }
        for message, fine in checks.items():
            require(fine, message)

    def require_supported(self, sampler: str, *supported: str) -> None:
        """Refuse the rules that a sampler ignores: of `remask` and `stop_entropy`, all but `supported`."""
        stops = self.stop_entropy is not None
        rules = (("remask", self.remask != "none", "absorbing"), ("stop_entropy", stops, "uniform"))
        for name, requested, owner in rules:
            mend = f"leave it out, or sample in mode 'diffusion' with {owner} corruption"
            require(not requested or name in supported, f"{name} does nothing in {sampler}: {mend}")


def token_margin(probs: Tensor) -> Tensor:
    """Gap between a token's best and second-best value: probs (..., groups, choices) -> (...). Groups are independent,
    so the second best changes the one group where that costs least.
    """
    if probs.shape[-1] == 1:
        return torch.ones_like(probs[..., 0, 0])
    best, second = probs.topk(2, dim=-1).values.unbind(-1)
    return best.prod(-1) * (1 - (second / best).amax(-1))


def token_entropy(probs: Tensor) -> Tensor:
    """Entropy of a token in nats, the sum over its independent groups: probs (..., groups, choices) -> (...)."""
    return torch.special.entr(probs).sum((-1, -2))


def top(score: Tensor, eligible: Tensor, count: Tensor) -> Tensor:
    """(B, N) bool, the `count` (B,) eligible positions of each row with the highest score; of ties, the first."""
    ranked = score.masked_fill(~eligible, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = ranked.argsort(dim=1)
    return eligible & (place < count[:, None])


def within_entropy_bound(entropy: Tensor, eligible: Tensor, bound: float) -> Tensor:
    """The largest set, lowest entropies first, with sum H - max H <= bound (EB-Sampler, Ben-Hamu et al. 2025)."""
    ordered, place = entropy.masked_fill(~eligible, torch.inf).sort(dim=1, stable=True)
    before = ordered.cumsum(1) - ordered  # sorted ascending, so the last one taken is the largest
    taken = (before <= bound + 1e-12) & torch.isfinite(ordered)
    return torch.zeros_like(eligible).scatter(1, place, taken)


def unmask(
    predict: Callable[[Tensor, Tensor], Tensor],
    codes: Tensor,
    committed: Tensor,
    decoding: Decoding,
    schedule: RevealScheduleName,
    steps: int,
    draws: Draws,
    name: str,
    rank: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Reveal the open positions of a row, several a step, until none is left, all codes of a position together. A
    position may be a code of a token, see `Codes`.

    Args:
        predict: (codes (B, N, K), committed (B, N)) -> logits (B, N, K, choices), guided, float64.
        codes: (B, N, K) with the known positions filled in.
        committed: (B, N) bool, positions that are known; they never change.
        decoding: the rules.
        schedule: how many stay hidden after each step, for select = count.
        steps: number of steps, for select = count; fewer are used where a row has fewer open positions.
        draws: a stream a row.
        name: key of these draws.
        rank: (B, N) the order of the positions, for order = random; each step draws anew by default.

    Yields:
        (codes, committed) after each step.
    """
    size = (~committed).sum(1)
    step = 0
    while not bool(committed.all()):
        probs = distribution(predict(codes, committed), decoding)
        choices = draw(probs, draws.uniform(f"{name}/token/{step}", *probs.shape[1:3]))
        open_ = ~committed
        chosen = probs.gather(-1, choices[..., None])[..., 0].clamp_min(1e-300).log().sum(-1)
        if decoding.select == "count":
            left = remaining(schedule, min(step, steps - 1), steps, size)
            count = (open_.sum(1) - left).clamp_min(1)
            if decoding.order == "random" and rank is not None:
                score = -rank.double()
            else:
                # MaskGIT's own code anneals so; Besnier & Chen's port and MaskGIL have T / (T - 1) times as much noise.
                score = _score(probs, chosen, decoding, (step + 1) / steps, draws, f"{name}/order/{step}")
            reveal = top(score, open_, count)
        elif decoding.select == "threshold":
            one = top(chosen, open_, torch.ones_like(size))
            reveal = one | (open_ & (chosen.exp() > decoding.threshold))
        else:
            reveal = within_entropy_bound(token_entropy(probs), open_, decoding.entropy_bound)
        codes = torch.where(reveal[..., None], choices, codes)
        committed = committed | reveal
        step += 1
        yield codes, committed


def _score(probs: Tensor, chosen: Tensor, decoding: Decoding, progress: float, draws: Draws, name: str) -> Tensor:
    if decoding.order == "random":
        return draws.uniform(name, probs.shape[1])
    score = {
        "confidence": lambda: chosen,
        "margin": lambda: token_margin(probs),
        "entropy": lambda: -token_entropy(probs),
    }[decoding.order]()
    annealed = decoding.noise * max(1 - progress, 0.0)
    return score + annealed * draws.gumbel(name, probs.shape[1]) if annealed else score

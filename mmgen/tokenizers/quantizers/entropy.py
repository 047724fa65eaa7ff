"""Entropies of a soft assignment to binary codes, which factorises over bits: O(bits) for 2^bits codes.

With q(c | v) ~ exp(c.v / temperature) over all codes c in {-s, s}^bits, the bits are independent given v, and
P(bit = 1) = sigmoid(2 s v / temperature) (Zhao et al. 2024, section 3.2). No code is ever enumerated.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_TINY = 1e-30


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Nats. From logits, because the gradient through the probability is infinite once a bit saturates."""
    return F.softplus(logits) - logits * logits.sigmoid()


class BitEntropies(torch.autograd.Function):
    """(n, bits) logits of independent bits -> the mean over n of the sum of their entropies in nats, and the mean
    probability of a one (bits,). What the first is of others autograd would compute again: here it is kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> tuple[Tensor, Tensor]:
        """With q <= 1/2 the less likely value of a bit: H = |logit| q - log(1 - q), which is exact for small q too."""
        distance = logits.abs()
        rare = distance.neg().sigmoid_()
        ctx.save_for_backward(logits, rare)
        certain = torch.dot(distance.flatten(), rare.flatten()) - rare.neg().log1p_().sum()
        return certain / len(logits), logits.sigmoid().mean(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """d H / d logit = -logit q (1 - q), d p / d logit = q (1 - q)."""
        logits, rare = ctx.saved_tensors
        of_certain, of_mean = (gradient / len(logits) for gradient in gradients)
        slope = torch.addcmul(rare, rare, rare, value=-1)
        return torch.addcmul(of_mean, logits, of_certain, value=-1).mul_(slope)


def entropy(probabilities: Tensor) -> Tensor:
    """(..., n) -> (...) nats. A bare logarithm has no finite gradient at 0."""
    return -(probabilities * probabilities.clamp_min(_TINY).log()).sum(-1)


def group_probabilities(logits: Tensor, group: int) -> Tensor:
    """(n, bits) logits of independent bits -> (n, bits / group, 2^group) joint probabilities of each group's values."""
    logits = rearrange(logits, "n (groups group) -> n groups group", group=group)
    ones, zeros = logits.sigmoid(), (-logits).sigmoid()
    joint = torch.ones_like(ones[..., :1])
    for bit in range(group):  # the first bit is the most significant
        either = torch.stack([zeros[..., bit], ones[..., bit]], dim=-1)
        joint = rearrange(joint[..., :, None] * either[..., None, :], "n groups high low -> n groups (high low)")
    return joint

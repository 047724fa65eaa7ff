"""Entropies of a soft assignment to binary codes, which factorises over bits: O(bits) for 2^bits codes.

With q(c | v) ~ exp(c.v / temperature) over all codes c in {-s, s}^bits, the bits are independent given v, and
P(bit = 1) = sigmoid(2 s v / temperature) (Zhao et al. 2024, section 3.2). No code is ever enumerated.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_TINY = 1e-30


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Nats. From logits, because the gradient through the probability is infinite once a bit saturates."""
    return F.softplus(logits) - logits * logits.sigmoid()


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

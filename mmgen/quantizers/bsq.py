"""Binary spherical quantization: the signs of a vector on the unit sphere. O(bits), no codebook."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.errors import UserError
from mmgen.quantizers.base import Quantized, Quantizer, mean_over_ranks, straight_through
from mmgen.tokens import pack_bits, unpack_bits

_TINY = 1e-30


class BSQ(Quantizer):
    """Binary spherical quantization (Zhao et al. 2024, arXiv 2406.07548).

    The code is the signs of u = z / |z|, scaled by 1 / sqrt(bits) to lie on the sphere; +1 where z > 0, so that 0 is
    -1. The index packs the bits, most significant first. The gradient is straight-through from the code to u, with
    factor 1 (the released code has 1 / sqrt(bits), which only scales it).

    The entropies are those of the soft assignment q(c | u) ~ exp(c.u / temperature) over all 2^bits codes c, which
    factorises into independent bits with P(bit = 1) = sigmoid(2 u / (temperature sqrt(bits))). Losses, in nats, where
    w is `entropy_weight` and full = bits log 2:
        certainty: w x mean H(q(c | u)), in [0, w full]. Falls towards a floor as vectors near their codes.
        diversity: -w x `diversity` x H(mean of q over the batch), summed over groups of `group` bits; in
            [-w diversity full, 0]. Should soon be within some percent of its lower end; near 0, the bits are dead.
        commitment: `commitment` x mean |u - code|^2, in [0, 2 commitment). Falls.
    In training, `diversity` is of the batch over all ranks; in eval mode all losses are local.

    Args:
        bits: 1 to 62.
        group: bits whose joint distribution `diversity` averages. 1 costs O(bits) and is an upper bound on the entropy,
            blind to correlations between bits; `bits` is exact, at 2^bits numbers a vector. Must divide bits.
        temperature: of the soft assignment. At 1 a bit is nearly a fair coin and the entropies hardly bind; the lower
            it is, the more they measure the hard code.
        entropy_weight: of both entropy terms.
        diversity: weight of the batch entropy against the certainty; lower lets codes be used less evenly.
        commitment: weight of the commitment loss, 0 as released.
    """

    kind = "bits"

    def __init__(
        self,
        bits: int,
        group: int = 1,
        temperature: float = 0.1,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        commitment: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= bits <= 62:
            raise UserError(f"BSQ packs its bits into an int64: choose 1 to 62 bits, not {bits}")
        if not 1 <= group <= 16 or bits % group:
            raise UserError(
                f"BSQ group must divide {bits} bits and be 1 to 16 (it costs 2^group numbers a vector), not {group}"
            )
        if temperature <= 0 or min(entropy_weight, diversity, commitment) < 0:
            raise UserError("BSQ needs temperature > 0, and entropy_weight, diversity and commitment >= 0")
        self.dim = self.size = bits
        self.group, self.temperature, self.entropy_weight = group, temperature, entropy_weight
        self.diversity, self.commitment = diversity, commitment

    def quantize(self, z: Tensor) -> Quantized:
        u = F.normalize(z, dim=-1)
        positive = z > 0
        codes = self._codes(positive)
        certain, spread = self.entropies(u)
        losses = {
            "certainty": self.entropy_weight * certain,
            "diversity": -self.entropy_weight * self.diversity * spread,
            "commitment": self.commitment * (u - codes).square().sum(-1).mean(),
        }
        return Quantized(straight_through(u, codes), pack_bits(positive), losses)

    def encode(self, z: Tensor) -> Tensor:
        return pack_bits(self.check_vectors(z) > 0)

    def lookup(self, indices: Tensor) -> Tensor:
        self.check_indices(indices, 2**self.size)
        return self._codes(unpack_bits(indices, self.size))

    def entropies(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u (..., bits) on the unit sphere -> (mean entropy of q(c | u), entropy of the mean of q), nats."""
        logits = rearrange(u, "... bits -> (...) bits") * (2 / (self.temperature * math.sqrt(self.size)))
        certain = bernoulli_entropy(logits).sum(-1).mean()
        mean = group_probabilities(logits, self.group).mean(0)
        if self.training:
            mean = mean_over_ranks(mean)
        return certain, -(mean * mean.clamp_min(_TINY).log()).sum()  # a bare log has no finite gradient at 0

    def _codes(self, positive: Tensor) -> Tensor:
        return (positive.float() * 2 - 1) / math.sqrt(self.size)


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Nats. From logits, because the gradient through the probability is infinite once a bit saturates."""
    return F.softplus(logits) - logits * logits.sigmoid()


def group_probabilities(logits: Tensor, group: int) -> Tensor:
    """(n, bits) logits of independent bits -> (n, bits / group, 2^group) joint probabilities of each group's values."""
    logits = rearrange(logits, "n (groups group) -> n groups group", group=group)
    ones, zeros = logits.sigmoid(), (-logits).sigmoid()
    joint = torch.ones_like(ones[..., :1])
    for bit in range(group):  # the first bit is the most significant
        either = torch.stack([zeros[..., bit], ones[..., bit]], dim=-1)
        joint = rearrange(joint[..., :, None] * either[..., None, :], "n groups high low -> n groups (high low)")
    return joint

"""BSQ and LFQ: codes are the signs of a vector. O(bits), no codebook.

With the soft assignment q(c | v) ~ exp(c.v / temperature) over all codes c in {-s, s}^bits, the bits are independent
given v, and P(bit = 1) = sigmoid(2 s v / temperature) (Zhao et al. 2024, section 3.2). No code is ever enumerated.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import pack_bits, unpack_bits
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, mean_over_ranks, straight_through

_TINY = 1e-30


class SignQuantizer(Quantizer):
    """The code is the signs of a vector, times `scale`; +1 where z > 0, so that 0 is -1. No codebook, no state.

    The index packs the bits, most significant first. Losses, in nats but for the last, where v is the vector among the
    codes, w is `entropy_weight` and full = bits log 2:
        certainty: w x mean H(q(c | v)), in [0, w full]. Falls as vectors near their codes.
        diversity: -w x `diversity` x H(mean of q over the batch), summed over groups of bits; in
            [-w diversity full, 0]. Should soon be within some percent of its lower end; near 0, the bits are dead.
        commitment: `commitment` x mean |v - code|^2 / |code|^2.
    In training, `diversity` is of the batch over all ranks; in eval mode all losses are local.
    """

    kind = "bits"
    scale: float  # of the signs

    def __init__(
        self, bits: int, group: int, temperature: float, entropy_weight: float, diversity: float, commitment: float
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not 1 <= bits <= 62:
            raise UserError(f"{name} packs its bits into an int64: choose 1 to 62 bits, not {bits}")
        if not 1 <= group <= 16 or bits % group:
            raise UserError(
                f"{name} group must divide {bits} bits and be 1 to 16 (it costs 2^group numbers a vector), not {group}"
            )
        if temperature <= 0 or min(entropy_weight, diversity, commitment) < 0:
            raise UserError(f"{name} needs temperature > 0, and entropy_weight, diversity and commitment >= 0")
        self.dim = self.size = bits
        self.group, self.temperature, self.entropy_weight = group, temperature, entropy_weight
        self.diversity, self.commitment = diversity, commitment

    def place(self, z: Tensor) -> Tensor:
        """Where z (..., bits) lies among the codes: the vector v that is compared with them."""
        return z

    def quantize(self, z: Tensor) -> Quantized:
        v, positive = self.place(z), z > 0
        codes = self._codes(positive)
        certain, spread = self.entropies(v)
        losses = {
            "certainty": self.entropy_weight * certain,
            "diversity": -self.entropy_weight * self.diversity * spread,
            "commitment": self.commitment * self._distance(v, codes),
        }
        return Quantized(straight_through(v, codes), pack_bits(positive), losses)

    def _distance(self, v: Tensor, codes: Tensor) -> Tensor:
        """Mean of |v - code|^2 / |code|^2, where it counts."""
        if self.commitment == 0:
            return v.new_zeros(())
        return (v - codes).square().sum(-1).mean() / (self.size * self.scale**2)

    def encode(self, z: Tensor) -> Tensor:
        return pack_bits(self.check_vectors(z) > 0)

    def lookup(self, indices: Tensor) -> Tensor:
        self.check_indices(indices, 2**self.size)
        return self._codes(unpack_bits(indices, self.size))

    def entropies(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """v (..., bits) among the codes -> (mean entropy of q(c | v), entropy of the mean of q by groups), nats."""
        logits = rearrange(v, "... bits -> (...) bits") * (2 * self.scale / self.temperature)
        if self.group == 1:
            certain, ones = BitEntropies.apply(logits)
            mean = torch.stack([1 - ones, ones], dim=-1)
        else:
            # From logits: the gradient through the probability is infinite once a bit saturates.
            certain = (F.softplus(logits) - logits * logits.sigmoid()).sum(-1).mean()
            mean = group_probabilities(logits, self.group).mean(0)
        if self.training:
            mean = mean_over_ranks(mean)
        # A bare logarithm has no finite gradient at 0.
        return certain, -(mean * mean.clamp_min(_TINY).log()).sum(-1).sum()

    def _codes(self, positive: Tensor) -> Tensor:
        return positive.float().mul_(2 * self.scale).sub_(self.scale)


class BSQ(SignQuantizer):
    """Binary spherical quantization (Zhao et al. 2024, arXiv 2406.07548).

    The code is the signs of u = z / |z|, scaled by 1 / sqrt(bits) to lie on the sphere. The gradient is
    straight-through from the code to u, with factor 1 (the released code has 1 / sqrt(bits), which only scales it).
    Losses are those of `SignQuantizer`; `commitment` lies in [0, 2 commitment).

    Args:
        bits: 1 to 62; as published 18 or 36.
        group: bits whose joint distribution `diversity` averages. 1 costs O(bits) and is an upper bound on the entropy,
            blind to correlations between bits; `bits` is exact, at 2^bits numbers a vector; 9 is as published, at 2^9
            numbers a group. Must divide bits.
        temperature: of the soft assignment, 1 / (2 inv_temperature) of the published code, whose released
            configurations have inv_temperature 1 and so 0.5 here; it also divides the penalty by inv_temperature, which
            is `entropy_weight` here. At 1 a bit is nearly a fair coin and the entropies hardly bind; the lower it is,
            the more they measure the hard code.
        entropy_weight: of both entropy terms.
        diversity: weight of the batch entropy against the certainty; lower lets codes be used less evenly.
        commitment: weight of the commitment loss, 0 as released.
    """

    def __init__(
        self,
        bits: int,
        group: int = 1,
        temperature: float = 0.1,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        commitment: float = 0.0,
    ) -> None:
        super().__init__(bits, group, temperature, entropy_weight, diversity, commitment)
        self.scale = 1 / math.sqrt(bits)

    def place(self, z: Tensor) -> Tensor:
        """z (..., bits) -> u on the unit sphere; the zero vector stays where it is."""
        return F.normalize(z, dim=-1)


class LFQ(SignQuantizer):
    """Lookup-free quantization (MAGVIT-v2, Yu et al. 2023, arXiv 2310.05737): BSQ without the sphere.

    The code is the signs of z themselves, and the gradient is straight-through from the code to z. Losses are those of
    `SignQuantizer`; `commitment` is per number and has no upper bound: growth means that the encoder runs away.

    Args:
        bits: 1 to 62; as published 18.
        group: bits whose joint distribution `diversity` averages. 1 costs O(bits) and is an upper bound on the entropy,
            blind to correlations between bits; `bits` is exact and as published, at 2^bits numbers a vector. Must
            divide bits.
        temperature: of the soft assignment. The lower, the more the entropies measure the hard code, and the nearer to
            0 a number must be to feel them. Open-MAGVIT2's 0.01, of squared distances, is 0.005 here.
        entropy_weight: of both entropy terms.
        diversity: weight of the batch entropy against the certainty; lower lets codes be used less evenly.
        commitment: weight of the commitment loss, which alone keeps z from growing: there is no sphere.
    """

    scale = 1.0

    def __init__(
        self,
        bits: int,
        group: int = 1,
        temperature: float = 0.5,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        commitment: float = 0.25,
    ) -> None:
        super().__init__(bits, group, temperature, entropy_weight, diversity, commitment)


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


def group_probabilities(logits: Tensor, group: int) -> Tensor:
    """(n, bits) logits of independent bits -> (n, bits / group, 2^group) joint probabilities of each group's values."""
    logits = rearrange(logits, "n (groups group) -> n groups group", group=group)
    ones, zeros = logits.sigmoid(), (-logits).sigmoid()
    joint = torch.ones_like(ones[..., :1])
    for bit in range(group):  # the first bit is the most significant
        either = torch.stack([zeros[..., bit], ones[..., bit]], dim=-1)
        joint = rearrange(joint[..., :, None] * either[..., None, :], "n groups high low -> n groups (high low)")
    return joint

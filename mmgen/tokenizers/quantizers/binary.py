"""What BSQ and LFQ share: codes of signs, packed into an integer, and the entropies that keep all codes in use."""

from functools import reduce
from operator import or_

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import pack_bits, unpack_bits
from mmgen.tokenizers.quantizers.base import Quantized, Quantizer, mean_over_ranks, straight_through
from mmgen.tokenizers.quantizers.entropy import BitEntropies, bernoulli_entropy, entropy, group_probabilities


class SignQuantizer(Quantizer):
    """The code is the signs of a vector, times `scale`; +1 where z > 0, so that 0 is -1. No codebook, no state.

    The index packs the bits, most significant first. A subclass says where a vector lies among the codes, and documents
    the losses:
        certainty: w x mean H(q(c | v)), w being `entropy_weight`.
        diversity: -w x `diversity` x H(mean of q over the batch), summed over groups of bits.
        commitment: `commitment` x mean |v - code|^2 / |code|^2.
    In training, `diversity` is of the batch over all ranks; in eval mode all losses are local.
    """

    kind = "bits"
    scale: float  # of the signs

    def __init__(
        self,
        bits: int,
        group: int,
        temperature: float,
        entropy_weight: float,
        diversity: float,
        commitment: float,
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
        return Quantized(straight_through(v, codes), _packed(positive), losses)

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
            certain = bernoulli_entropy(logits).sum(-1).mean()
            mean = group_probabilities(logits, self.group).mean(0)
        if self.training:
            mean = mean_over_ranks(mean)
        return certain, entropy(mean).sum()

    def _codes(self, positive: Tensor) -> Tensor:
        return positive.float().mul_(2 * self.scale).sub_(self.scale)


def _packed(positive: Tensor) -> Tensor:
    """`pack_bits` as products with powers of two, which float32 adds exactly up to 24 bits: several times quicker. Not
    under autocast, which would round them.
    """
    ends = range(positive.shape[-1], 0, -24)
    bits = positive.float()
    parts = [bits[..., max(end - 24, 0) : end] for end in ends]
    powers = [2.0 ** torch.arange(part.shape[-1] - 1, -1, -1, dtype=bits.dtype, device=bits.device) for part in parts]
    whole = [part @ power for part, power in zip(parts, powers)]
    return reduce(or_, (part.long() << (24 * place) for place, part in enumerate(whole)))

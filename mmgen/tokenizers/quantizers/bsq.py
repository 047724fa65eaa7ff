"""Binary spherical quantization: the signs of a vector on the unit sphere. O(bits), no codebook."""

import math
from typing import Any

import torch
from torch import Tensor

from mmgen.tokenizers.quantizers.binary import SignQuantizer

_SHORT = 1e-12  # length below which a vector counts as so long


class BSQ(SignQuantizer):
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
        return _Normalise.apply(z)


class _Normalise(torch.autograd.Function):
    """`F.normalize` over the last axis, with half as many passes over memory in its gradient."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        unit = z / torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp_min(_SHORT)
        ctx.save_for_backward(z, unit)
        return unit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """What points away from the sphere is left out, and all of it shrinks with the length."""
        z, unit = ctx.saved_tensors
        length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        along = torch.linalg.vecdot(gradient, unit)[..., None] * (length > _SHORT)
        return torch.addcmul(gradient, unit, along, value=-1) / length.clamp_min(_SHORT)

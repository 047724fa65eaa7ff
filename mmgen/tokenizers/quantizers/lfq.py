"""Lookup-free quantization: the signs of a vector. O(bits), no codebook."""

from mmgen.tokenizers.quantizers.binary import SignQuantizer


class LFQ(SignQuantizer):
    """Lookup-free quantization (MAGVIT-v2, Yu et al. 2023, arXiv 2310.05737).

    BSQ without the sphere: the code is the signs of z themselves, +-1; +1 where z > 0, so that 0 is -1. The index packs
    the bits, most significant first. The gradient is straight-through from the code to z.

    The entropies are those of the soft assignment q(c | z) ~ exp(c.z / temperature) over all 2^bits codes c, which
    factorises into independent bits with P(bit = 1) = sigmoid(2 z / temperature). Losses, where w is `entropy_weight`
    and full = bits log 2; the first two in nats:
        certainty: w x mean H(q(c | z)), in [0, w full]. Starts near its upper end while z is small, and soon falls
            towards 0 as the numbers of z leave 0.
        diversity: -w x `diversity` x H(mean of q over the batch), summed over groups of `group` bits; in
            [-w diversity full, 0]. Should soon be within some percent of its lower end; near 0, the bits are dead.
        commitment: `commitment` x mean (z - code)^2 per number, without upper bound. Starts near `commitment` while z
            is small, and falls as the numbers of z settle around +-1; growth means that the encoder runs away.
    In training, `diversity` is of the batch over all ranks; in eval mode all losses are local.

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

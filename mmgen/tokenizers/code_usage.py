"""How much of a vocabulary a quantizer uses: what shows that a codebook has collapsed."""

import torch
from torch import Tensor

from mmgen.core.tokens import TokenSpec


def code_figures(values: Tensor, spec: TokenSpec) -> dict[str, float]:
    """How much of the vocabulary is used; of several codebooks, the mean over them.

    Args:
        values: tokens, (N, ...) int64 of one codebook, bits packed, or (N, ..., Q) of Q residual ones.
        spec: categorical, bits or residual.

    Returns:
        code_usage: share of all codes that occur; code_perplexity: e to the entropy of their frequencies.
    """
    levels = values.unbind(-1) if spec.kind == "residual" else [values]
    usage, perplexity = 0.0, 0.0
    for codes in levels:
        counts = codes.flatten().unique(return_counts=True)[1].double()
        usage += len(counts) / spec.alphabet / len(levels)
        perplexity += torch.special.entr(counts / counts.sum()).sum().exp().item() / len(levels)
    return {"code_usage": usage, "code_perplexity": perplexity}

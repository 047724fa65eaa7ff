"""Drawing of a choice: sharpened probabilities, and the inversion of their distribution function."""

import torch
from torch import Tensor

from mmgen.model.heads.base import Sharpening


def distribution(logits: Tensor, rules: Sharpening) -> Tensor:
    """Probabilities (..., choices) after temperature, top-k and top-p; float64 in, float64 out."""
    if rules.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits if rules.temperature == 1 else logits / rules.temperature
    if rules.top_k is not None and rules.top_k < logits.shape[-1]:
        lowest = logits.topk(rules.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    probs = logits.softmax(-1)
    if rules.top_p is not None and rules.top_p < 1:
        ordered, place = probs.sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= rules.top_p  # the mass before a choice already reaches p
        probs = torch.zeros_like(probs).scatter(-1, place, ordered.masked_fill(beyond, 0))
        probs = probs / probs.sum(-1, keepdim=True)
    return probs


_BELOW_ONE = 1 - 2.0**-53  # the largest float64 below 1


def draw(probs: Tensor, uniform: Tensor) -> Tensor:
    """One choice each by inverting the distribution function: probs (..., choices), uniform (...) in [0, 1) -> (...)
    int64.

    In float64, since float32 truncation lowers the effective temperature (Zheng et al. 2024).
    """
    reached = probs.double().cumsum(-1)
    below = reached[..., -1:] * _BELOW_ONE  # less than the total after rounding, so that some choice reaches beyond it
    return torch.searchsorted(reached, uniform[..., None] * below, right=True)[..., 0]

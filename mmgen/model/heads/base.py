"""What every head is: the law of a token given the features of its position."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from mmgen.core.tokens import TokenSpec

Law = Literal["choices", "density", "regression"]


class Sharpening(Protocol):
    """How a law is sharpened before a draw (`mmgen.paradigms.decoding.Decoding`)."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def top_p(self) -> float | None: ...


class Head(nn.Module, ABC):
    """The output end of a generator, the owner of its law. A recipe may choose one; the generator gives its first two
    arguments.

    A paradigm asks for the kind of law that it needs: `choices` are categorical, of one or several groups a token; a
    `density` is of continuous tokens; a `regression` predicts vectors, for denoisers of whole blocks, and has no law.
    """

    law: ClassVar[Law]
    uniforms: int = 1
    """How many uniform numbers a draw takes for each position."""

    @abstractmethod
    def predict(self, features: Tensor) -> Tensor:
        """What guidance mixes and `draw` reads: features (..., dim) -> (..., *)."""

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
        """Both predictions as one. Scale 1 is the conditional model, 0 the unconditional one; papers that write (1 + w)
        mean scale = 1 + w (Ho & Salimans 2022).
        """
        return unconditional + scale * (conditional - unconditional)

    def nats(self, features: Tensor, targets: Tensor) -> Tensor:
        """-log p(target), in nats: features (..., dim), targets (...) or (..., C) -> (...)."""
        raise TypeError(f"{type(self).__name__} is a {self.law}, which has no likelihood")

    def draw(self, prediction: Tensor, rules: Sharpening, chance: Tensor) -> Tensor:
        """Tokens (...) or (..., C): prediction (..., *), chance (..., uniforms) in [0, 1)."""
        raise TypeError(f"{type(self).__name__} is a {self.law}, from which nothing is drawn")


HeadFactory = Callable[[TokenSpec, int], Head]
"""What makes a head of the tokens and the width of the backbone."""


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
    int64. In float64, since float32 truncation lowers the effective temperature (Zheng et al. 2024).
    """
    reached = probs.double().cumsum(-1)
    below = reached[..., -1:] * _BELOW_ONE  # less than the total after rounding, so that some choice reaches beyond it
    return torch.searchsorted(reached, uniform[..., None] * below, right=True)[..., 0]

"""What every head is: the law of a token given the features of its position."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

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
    """The output end of a generator, the owner of its law. A recipe may choose one; its first two arguments are then
    given by the generator.

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

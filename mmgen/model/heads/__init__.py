"""The output end of a generator: heads own their law."""

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.base import Head, HeadFactory, Law, Sharpening
from mmgen.model.heads.choices import BitsHead, CategoricalHead, ChoiceHead, ResidualHead
from mmgen.model.heads.continuous import GaussianMixtureHead, LinearHead

_DEFAULTS: dict[str, HeadFactory] = {
    "categorical": CategoricalHead,
    "bits": BitsHead,
    "residual": ResidualHead,
    "continuous": LinearHead,
}


def head_for(spec: TokenSpec, dim: int) -> Head:
    """The head that a token kind has by default, for a backbone of width `dim`."""
    return _DEFAULTS[spec.kind](spec, dim)


def require_choices(head: Head, paradigm: str) -> ChoiceHead:
    """The head, if it is of choices; UserError naming the paradigm that needs it."""
    if not isinstance(head, ChoiceHead):
        raise UserError(
            f"{paradigm} generates discrete tokens and this tokenizer yields continuous ones; take one with a codebook"
            " or bits, or ContinuousBlockDiffusion as the paradigm"
        )
    return head


def require_regression(head: Head, paradigm: str) -> LinearHead:
    """The head, if it predicts vectors; UserError naming the paradigm that needs it."""
    if not isinstance(head, LinearHead):
        raise UserError(
            f"{paradigm} denoises continuous tokens with a head that predicts vectors, and this one is"
            f" {type(head).__name__}, a law of {head.law}: take a tokenizer with a Gaussian bottleneck or a diffusers"
            " autoencoder, or BlockDiffusion as the paradigm"
        )
    return head


def require_law(head: Head, paradigm: str) -> Head:
    """The head, if tokens can be drawn from it, choices or a density; UserError naming the paradigm that needs it."""
    if head.law == "regression":
        raise UserError(
            f"{paradigm} draws tokens, and the head {type(head).__name__} is a regression, which has no law: take a"
            " tokenizer with a codebook or bits, GaussianMixtureHead as the head, or ContinuousBlockDiffusion as the"
            " paradigm"
        )
    return head

"""The output end of a generator: one class a token kind, each the owner of its loss."""

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads.bits import BitsHead
from mmgen.model.heads.categorical import CategoricalHead
from mmgen.model.heads.linear import LinearHead
from mmgen.model.heads.residual import ResidualHead

Head = CategoricalHead | LinearHead


def head_for(spec: TokenSpec, dim: int, group: int | None = None, ends: bool = False) -> Head:
    """The head of a token kind; UserError for an option that is not for it.

    Args:
        spec: of the tokens.
        dim: width of the backbone.
        group: of binary tokens: bits whose joint law one softmax gives, as for `BitsHead`.
        ends: one more choice, END, for tokens that are chosen from a codebook.
    """
    if ends and spec.kind not in ("categorical", "residual"):
        raise UserError(f"ends is for tokens of codebooks, and these are {spec.kind}; leave it out")
    if spec.kind == "bits":
        return BitsHead(spec.size, dim, group)
    if group is not None:
        raise UserError(f"head_group {group} is for binary tokens, and these are {spec.kind}; leave it out")
    if spec.kind == "continuous":
        return LinearHead(spec.size, dim)
    if spec.kind == "residual":
        return ResidualHead(spec.size, dim, spec.levels, ends)
    return CategoricalHead(spec.size + ends, dim)


def discrete(head: Head, paradigm: str) -> CategoricalHead:
    """The head, if it is one of a distribution over discrete tokens; UserError naming the paradigm that needs it."""
    if not isinstance(head, CategoricalHead):
        raise UserError(
            f"{paradigm} generates discrete tokens and this tokenizer yields continuous ones; take one with a codebook"
            " or bits, or ContinuousBlockDiffusion as the paradigm"
        )
    return head


def continuous(head: Head, paradigm: str) -> LinearHead:
    """The head, if it is one of continuous tokens; UserError naming the paradigm that needs it."""
    if not isinstance(head, LinearHead):
        raise UserError(
            f"{paradigm} generates continuous tokens and this tokenizer yields discrete ones; take one with a Gaussian"
            " bottleneck or a diffusers autoencoder, or BlockDiffusion as the paradigm"
        )
    return head

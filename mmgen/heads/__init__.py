"""The output end of a generator: one class a token kind, each the owner of its loss."""

from mmgen.errors import UserError
from mmgen.heads.bits import BitsHead
from mmgen.heads.categorical import CategoricalHead
from mmgen.tokens import TokenSpec

HEADS: dict[str, type[CategoricalHead] | type[BitsHead]] = {"categorical": CategoricalHead, "bits": BitsHead}


def head_for(spec: TokenSpec, dim: int) -> CategoricalHead:
    """The head of a token kind; UserError where there is none."""
    if spec.kind not in HEADS:
        raise UserError(f"no head for {spec.kind!r} tokens; a generator takes {', '.join(HEADS)}")
    return HEADS[spec.kind](spec.size, dim)

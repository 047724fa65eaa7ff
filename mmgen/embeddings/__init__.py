"""The input end of a generator: one class a token kind, each the owner of its mask token."""

from torch import nn

from mmgen.embeddings.bits import BitsEmbedding
from mmgen.embeddings.categorical import CategoricalEmbedding
from mmgen.errors import UserError
from mmgen.tokens import TokenSpec

EMBEDDINGS: dict[str, type[CategoricalEmbedding] | type[BitsEmbedding]] = {
    "categorical": CategoricalEmbedding,
    "bits": BitsEmbedding,
}


def embedding_for(spec: TokenSpec, dim: int) -> nn.Module:
    """The embedding of a token kind; UserError where there is none."""
    if spec.kind not in EMBEDDINGS:
        raise UserError(f"no embedding for {spec.kind!r} tokens; a generator takes {', '.join(EMBEDDINGS)}")
    return EMBEDDINGS[spec.kind](spec.size, dim)

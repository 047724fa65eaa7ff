"""The input end of a generator: one class a token kind, each the owner of its mask token."""

from mmgen.embeddings.bits import BitsEmbedding
from mmgen.embeddings.categorical import CategoricalEmbedding
from mmgen.embeddings.continuous import ContinuousEmbedding
from mmgen.errors import UserError
from mmgen.tokens import TokenSpec

Embedding = CategoricalEmbedding | BitsEmbedding | ContinuousEmbedding

EMBEDDINGS: dict[str, type[CategoricalEmbedding] | type[BitsEmbedding] | type[ContinuousEmbedding]] = {
    "categorical": CategoricalEmbedding,
    "bits": BitsEmbedding,
    "continuous": ContinuousEmbedding,
}


def embedding_for(spec: TokenSpec, dim: int) -> Embedding:
    """The embedding of a token kind; UserError where there is none."""
    if spec.kind not in EMBEDDINGS:
        raise UserError(f"no embedding for {spec.kind!r} tokens; a generator takes {', '.join(EMBEDDINGS)}")
    return EMBEDDINGS[spec.kind](spec.size, dim)

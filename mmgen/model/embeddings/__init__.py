"""The input end of a generator: one class a token kind, each the owner of its mask token."""

from mmgen.core.tokens import TokenSpec
from mmgen.model.embeddings.bits import BitsEmbedding
from mmgen.model.embeddings.categorical import CategoricalEmbedding
from mmgen.model.embeddings.continuous import ContinuousEmbedding
from mmgen.model.embeddings.residual import ResidualEmbedding

Embedding = CategoricalEmbedding | BitsEmbedding | ContinuousEmbedding | ResidualEmbedding

EMBEDDINGS: dict[str, type[CategoricalEmbedding] | type[BitsEmbedding] | type[ContinuousEmbedding]] = {
    "categorical": CategoricalEmbedding,
    "bits": BitsEmbedding,
    "continuous": ContinuousEmbedding,
}


def embedding_for(spec: TokenSpec, dim: int) -> Embedding:
    """The embedding of a token kind."""
    if spec.kind == "residual":
        return ResidualEmbedding(spec.size, dim, spec.levels)
    return EMBEDDINGS[spec.kind](spec.size, dim)

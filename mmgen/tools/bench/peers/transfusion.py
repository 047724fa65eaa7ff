"""A flow model of transfusion-pytorch, that of one modality without text."""

from typing import Any

import torch

from mmgen.core.tokens import TokenSpec


def transfusion(spec: TokenSpec, shape: tuple[int, int, int], device: torch.device) -> Any:
    """`transfusion_pytorch.Transfusion` of these continuous tokens, of a width, blocks and heads, and all else as the
    package has it by default: scores that are capped, gated values, links between distant blocks.
    """
    from transfusion_pytorch import Transfusion

    dim, depth, heads = shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transfusion(
            num_text_tokens=1,
            dim_latent=spec.size,
            modality_default_shape=tuple(spec.grid[1:]),
            transformer={"dim": dim, "depth": depth, "heads": heads, "dim_head": dim // heads},
        )
    return model.to(device)

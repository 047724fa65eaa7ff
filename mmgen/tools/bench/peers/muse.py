"""A masked generator of muse-maskgit-pytorch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import ImageFile
from torch import Tensor

from mmgen.core.tokens import TokenSpec

TEXT = "t5"  # the name under which it is told the width of its texts, so that it fetches no model for it


@dataclass(frozen=True, eq=False)
class Muse:
    """Its transformer and its sampler, in evaluation mode.

    Attributes:
        model: `muse_maskgit_pytorch.MaskGit`.
        side: rows and columns of tokens.
    """

    model: Any
    side: int

    def sample(self, batch: int, steps: int) -> Tensor:
        """(batch, side^2) tokens, without guidance."""
        from muse_maskgit_pytorch import muse_maskgit_pytorch as module

        module.tqdm = lambda steps, **_: steps  # no bar
        with torch.no_grad():
            ids = self.model.generate([""] * batch, fmap_size=self.side, timesteps=steps, cond_scale=1.0)
        return ids.flatten(1)

    def multiplications(self) -> float:
        """Multiply-adds of a pass over one row."""
        return self._multiplications

    @cached_property
    def _multiplications(self) -> float:
        """Each linear map as often as it is used: keys and values of the text once a row, the others once a token."""
        length, transformer = self.side**2, self.model.transformer
        total = float(length * transformer.to_logits.weight.numel())
        for own, cross, feed in transformer.transformer_blocks.layers:
            inner = own.to_q.weight.shape[0]
            each = sum(p.numel() for part in (own, feed) for p in part.parameters() if p.dim() == 2)
            each += cross.to_q.weight.numel() + cross.to_out.weight.numel()
            total += length * (each + 2 * inner * (length + 1) + 2 * inner * 2) + cross.to_kv.weight.numel()
        return total


def muse(spec: TokenSpec, shape: tuple[int, int, int], device: torch.device) -> Muse:
    """A generator of these tokens, of a width, blocks and heads, without an autoencoder behind it, that is given a text
    of one place.
    """
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    from muse_maskgit_pytorch import MaskGit, MaskGitTransformer
    from muse_maskgit_pytorch.t5 import T5_CONFIGS

    ImageFile.LOAD_TRUNCATED_IMAGES = strict  # its trainer takes damaged images, for the whole process
    dim, depth, heads = shape
    T5_CONFIGS[TEXT] = {"config": type("Config", (), {"d_model": dim})}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = MaskGitTransformer(
            num_tokens=spec.size, seq_len=spec.length, dim=dim, depth=depth, dim_head=dim // heads, heads=heads,
            flash=False, t5_name=TEXT,
        )  # fmt: skip
    transformer.encode_text = lambda texts: torch.ones(len(texts), 1, dim, device=device)
    model = MaskGit.__new__(MaskGit)  # its constructor asks for a trained autoencoder
    torch.nn.Module.__init__(model)
    model.vae, model.image_size = _Codes(), spec.grid[1]
    model.transformer, model.mask_id = transformer, transformer.mask_id
    model.noise_schedule = lambda t: torch.cos(t * torch.pi / 2)
    model.token_critic, model.self_cond, model.resize_image_for_cond_image = None, False, False
    return Muse(model.to(device).eval(), spec.grid[1])


class _Codes:
    """In the place of an autoencoder: what is sampled comes out as it is."""

    def get_encoded_fmap_size(self, size: int) -> int:
        """Tokens a side."""
        return size

    def decode_from_ids(self, ids: Tensor) -> Tensor:
        """The tokens."""
        return ids

"""A sampler's states as a small file, and back: what `mmgen sample --film` writes and a page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgen.core.tokens import Tokens
from mmgen.media.images import to_uint8
from mmgen.page.tiles import spread
from mmgen.paradigms import State
from mmgen.tokenizers import Tokenizer

FILE = "film.safetensors"
_FRAMES, _SAMPLES, _BYTES = 64, 10, 2**25  # states, samples and bytes of a file, at most


@dataclass(frozen=True, eq=False)
class SamplerFilm:
    """A batch while it is sampled.

    Args:
        images: (F, B, C, H, W) uint8, each state decoded; meaningful where committed.
        committed: (F, B, h, w) bool over the token grid; all True in the last frame.
        order: (B, h, w) int64, the number of passes after which each token stood; 0 where it was given.
        passes: F numbers, calls of the network before each state; ascending from 0.
    """

    images: Tensor
    committed: Tensor
    order: Tensor
    passes: list[int]

    def write(self, folder: Path) -> None:
        """Into a folder."""
        save_file(vars(self) | {"passes": torch.tensor(self.passes)}, folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> "SamplerFilm":
        """From a folder that holds one."""
        tensors = load_file(folder / FILE)
        return cls(tensors["images"], tensors["committed"], tensors["order"], tensors["passes"].tolist())

    def select(self, frames: Sequence[int]) -> "SamplerFilm":
        """Some of the frames."""
        passes = [self.passes[frame] for frame in frames]
        return SamplerFilm(self.images[list(frames)], self.committed[list(frames)], self.order, passes)


@torch.no_grad()
def film_of(tokenizer: Tokenizer, states: Sequence[State]) -> SamplerFilm:
    """States of a sampler of one batch, from the empty one to the finished one, decoded by a tokenizer of still images.
    Open places take the token of a black image, which affects its neighbours least.
    """
    device = next(tokenizer.parameters()).device
    black = tokenizer.encode(torch.full((1, *tokenizer.sample_shape), -1.0, device=device)).values
    chosen = spread(len(states), _FRAMES)
    frame_bytes = black.new_zeros(tokenizer.sample_shape).numel() * len(chosen)
    samples = max(1, min(_SAMPLES, _BYTES // frame_bytes))
    committed = torch.stack([state.committed[:samples] for state in states]).cpu()
    passes = torch.tensor([state.forward_passes for state in states])
    order = passes[committed.int().argmax(0)]
    committed = committed[chosen]
    tokens = torch.where(
        committed.to(device).reshape(*committed.shape, *[1] * (black.ndim - 2)),
        torch.stack([states[place].tokens[:samples] for place in chosen]).to(device),
        black,
    )
    rows = rearrange(tokens, "f b ... -> (f b) ...")
    images = torch.cat([to_uint8(tokenizer.decode(Tokens(part, tokenizer.spec.grid))) for part in rows.split(100)])
    width = tokenizer.spec.grid[2]
    return SamplerFilm(
        rearrange(images, "(f b) c h w -> f b c h w", f=len(chosen)),
        rearrange(committed, "f b (h w) -> f b h w", w=width),
        rearrange(order, "b (h w) -> b h w", w=width),
        passes[chosen].tolist(),
    )

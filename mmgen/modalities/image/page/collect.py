"""From a sampler's states to a film."""

import torch
from einops import rearrange

from mmgen.core.tokens import Tokens
from mmgen.modalities.image.page.story import Film
from mmgen.paradigms import State
from mmgen.tokenizers import Tokenizer


@torch.no_grad()
def film(tokenizer: Tokenizer, states: list[State]) -> Film:
    """States of a sampler, decoded. Open places take the token of a black image, which lends its neighbours nothing.

    Args:
        tokenizer: of still images.
        states: of one batch, from the empty one to the finished one.
    """
    device = next(tokenizer.parameters()).device
    black = tokenizer.encode(torch.full((1, *tokenizer.sample_shape), -1.0, device=device)).values
    committed = torch.stack([state.committed for state in states]).to(device)
    tokens = torch.where(committed, torch.stack([state.tokens for state in states]).to(device), black)
    rows = rearrange(tokens, "f b n -> (f b) n")
    images = torch.cat([tokenizer.decode(Tokens(part, tokenizer.spec.grid)).float().cpu() for part in rows.split(100)])
    frames = rearrange(images, "(f b) c h w -> f b c h w", f=len(states))
    t, h, w = tokenizer.spec.grid
    grids = rearrange(committed.cpu(), "f b (t h w) -> f b t h w", t=t, h=h, w=w)
    return Film(frames, grids, [state.forward_passes for state in states])

"""Rows that end by themselves: their lengths, and what stands behind their ends."""

import torch
from torch import Tensor

from mmgen.paradigms import State
from mmgen.paradigms.canvas import real_positions, where


def row_lengths(state: State) -> Tensor:
    """(B,) int64 tokens of each row."""
    if state.lengths is not None:
        return state.lengths
    return torch.full((len(state.tokens),), state.tokens.shape[1], device=state.tokens.device)


def ended_tokens(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Tokens with zeros behind the end of each row, which may hold what no decoder knows."""
    return where(real_positions(tokens, lengths.to(tokens.device)), tokens, torch.zeros_like(tokens))

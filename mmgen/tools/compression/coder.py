"""Symbols to bytes and back, given the probabilities of each: range coding (Martin 1979) by `constriction` (Bamler
2022).

A law of n choices is rounded to multiples of 2^-24, at least one for every choice, so that all can be coded. That costs
at most n * 2^-24 / ln 2 bits a symbol, 0.0004 for 4,096 choices; the library's other rounding (`perfect=True`) costs
less and takes many times as long.
"""

import constriction
import numpy as np
import torch
from torch import Tensor

_LAW = constriction.stream.model.Categorical(perfect=False)
_WORD = np.dtype("<u4")


class Encoder:
    """Writes symbols, first in first out.

    Attributes:
        bits: -log2 of the probabilities of all symbols so far, before rounding: what an ideal coder would take.
    """

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self.bits = 0.0

    def put(self, probs: Tensor, symbols: Tensor) -> None:
        """Append symbols (...) int64, each below n, of laws probs (..., n) float64."""
        if probs.shape[-1] == 1:  # the only choice there is takes no bits
            return
        taken = probs.gather(-1, symbols[..., None])
        self.bits -= taken.clamp_min(torch.finfo(taken.dtype).tiny).log2().sum().item()
        self._coder.encode(symbols.flatten().cpu().numpy().astype(np.int32), _LAW, _table(probs))

    def finish(self) -> bytes:
        """All that was put, in whole words of 32 bits."""
        return self._coder.get_compressed().astype(_WORD).tobytes()


class Decoder:
    """Reads the payload of `Encoder.finish`, given the same laws in the same order."""

    def __init__(self, payload: bytes) -> None:
        words = np.frombuffer(payload, _WORD).astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def take(self, probs: Tensor) -> Tensor:
        """The next symbols (...) int64, given their laws probs (..., n) float64.

        Raises:
            ValueError: the payload is not of these laws. It may also go unnoticed.
        """
        if probs.shape[-1] == 1:
            return torch.zeros(probs.shape[:-1], dtype=torch.int64, device=probs.device)
        try:
            symbols = self._coder.decode(_LAW, _table(probs))
        except AssertionError as error:  # so the library tells of words that no symbol leads to
            raise ValueError(str(error)) from None
        return torch.from_numpy(symbols).long().view(probs.shape[:-1]).to(probs.device)


def _table(probs: Tensor) -> np.ndarray:
    return probs.flatten(0, -2).contiguous().cpu().numpy()

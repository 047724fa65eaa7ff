"""Voices: how alike two speakers sound to a network that tells speakers apart."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.audio import resample
from mmgen.modalities.speech.evaluation.signal_metrics import INSTALL

_RATE = 16000  # Hz that Resemblyzer hears
_QUIET = 1e-5  # root mean square of a sound that has no voice


class VoiceJudge(Protocol):
    """Sounds to vectors of which those of one speaker point the same way.

    Attributes:
        name: stands in the name of every figure.
        protocol: what the protocol of a figure says of it.
    """

    name: str
    protocol: dict[str, str]

    def __call__(self, sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
        """Sounds (T,) float32 in [-1, 1], each on its own -> (n, F) of norm 1; 0 for one without a voice."""
        ...


class Resemblyzer:
    """The speaker encoder of Resemblyzer: GE2E (Wan et al. 2018), trained on LibriSpeech and VoxCeleb. Long silences
    are left out, as its own preparation does.

    Raises:
        UserError: it is not installed.
    """

    name = "resemblyzer"

    def __init__(self) -> None:
        if find_spec("resemblyzer") is None or find_spec("webrtcvad") is None:
            raise UserError(
                f"voices are compared by the packages Resemblyzer and webrtcvad-wheels: {INSTALL}, then pip install"
                " --no-deps Resemblyzer"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of scipy's namespaces
            from resemblyzer import VoiceEncoder

        self._encoder: Any = VoiceEncoder("cpu", verbose=False)
        self.protocol = {"speaker_encoder": f"Resemblyzer {version('Resemblyzer')}, without long silences"}

    def __call__(self, sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
        return torch.stack([self._one(sound, sample_rate) for sound in sounds])

    @torch.no_grad()
    def _one(self, sound: Tensor, sample_rate: int) -> Tensor:
        from resemblyzer import preprocess_wav

        heard = resample(sound.detach().float().cpu(), sample_rate, _RATE)
        if not len(heard) or heard.square().mean().sqrt() < _QUIET:
            return torch.zeros(256)
        voiced = preprocess_wav(heard.numpy())
        wave = voiced if len(voiced) else heard.numpy()  # no voice was detected, and something is there
        return F.normalize(torch.from_numpy(np.asarray(self._encoder.embed_utterance(wave))).float(), dim=0)


def similarities(one: Tensor, other: Tensor) -> Tensor:
    """(n,) cosines of the rows of two sets of vectors (n, F) of norm 1 or 0."""
    return (one * other).sum(1)


def next_of_same(labels: Tensor) -> Tensor:
    """For each row the number of the next row of its label, going round: (n,) int64; -1 where there is none, and where
    the label is negative, which is nobody's.
    """
    found = torch.full_like(labels, -1)
    for label in labels[labels >= 0].unique():
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) > 1:
            found[rows] = rows.roll(-1)
    return found

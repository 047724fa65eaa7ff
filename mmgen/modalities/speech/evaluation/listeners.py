"""Networks that listen to speech: a recogniser of words, a judge of voices, and DNSMOS, a judge of naturalness."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.evaluation.command import Metric
from mmgen.media.audio import resample
from mmgen.modalities.speech.evaluation.recogniser import Recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import INSTALL
from mmgen.modalities.speech.evaluation.transcripts import NORMALISED, word_errors

_RATE = 16000  # Hz that Resemblyzer and DNSMOS take
_QUIET = 1e-5  # root mean square of a sound that has no voice


@dataclass(frozen=True, eq=False)
class Listeners:
    """The networks that listen."""

    recogniser: Recogniser | None  # writes down what is said; None for none
    voices: "Resemblyzer | None"  # tells speakers apart; None for none
    naturalness: bool  # whether DNSMOS is computed

    def naturalness_metrics(self, name: str, sounds: Sequence[Tensor], sample_rate: int) -> list[Metric]:
        """The mean DNSMOS of sounds (T,)."""
        if not self.naturalness:
            return []
        how = {"mos": f"DNSMOS P.835 overall, speechmos {version('speechmos')}"}
        return [Metric(name, dnsmos(sounds, sample_rate).mean().item(), protocol=how)]


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

    @torch.no_grad()
    def __call__(self, sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
        """Sounds (T,) float32 in [-1, 1], each on its own -> (n, F) of norm 1; 0 for one without a voice."""
        return torch.stack([self._embed(resample(_float(sound), sample_rate, _RATE)) for sound in sounds])

    def _embed(self, sound: Tensor) -> Tensor:
        from resemblyzer import preprocess_wav

        if not len(sound) or sound.square().mean().sqrt() < _QUIET:
            return torch.zeros(256)
        voiced = preprocess_wav(sound.numpy())
        wave = voiced if len(voiced) else sound.numpy()  # no voice was detected, and something is there
        return F.normalize(torch.from_numpy(np.asarray(self._encoder.embed_utterance(wave))).float(), dim=0)


def next_of_same(labels: Tensor) -> Tensor:
    """For each row the number of the next row of its label, going round: (n,) int64; -1 where there is none, and for
    negative labels.
    """
    following = torch.full_like(labels, -1)
    for label in labels[labels >= 0].unique():
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) > 1:
            following[rows] = rows.roll(-1)
    return following


def require_dnsmos() -> None:
    """Raises UserError where the package is missing."""
    if find_spec("speechmos") is None:
        raise UserError(f"DNSMOS is in the package speechmos: {INSTALL}")


def dnsmos(sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Overall quality of each sound (T,) float32 in [-1, 1], (n,) float64 from 1 to 5 (DNSMOS P.835, Reddy et al.
    2022): of speech under noise, which it was trained on; a sound is repeated until it is nine seconds long.
    """
    require_dnsmos()
    from speechmos import dnsmos as network

    waves = (resample(_float(sound), sample_rate, _RATE).clamp(-1, 1).numpy() for sound in sounds)
    return torch.tensor([float(network.run(wave, _RATE)["ovrl_mos"]) for wave in waves], dtype=torch.float64)


def word_error_metrics(
    recogniser: Recogniser, sounds: Sequence[Tensor], transcripts: Sequence[str], sample_rate: int, name: str = "wer"
) -> list[Metric]:
    """`wer` and `cer` of sounds (T,) against their transcripts; under another name, the first alone."""
    words, characters = word_errors(recogniser.transcribe(sounds, sample_rate), transcripts)
    how = recogniser.protocol | {"texts": NORMALISED}
    metrics = [Metric(name, words, recogniser.name, how), Metric("cer", characters, recogniser.name, how)]
    return metrics if name == "wer" else metrics[:1]


def _float(sound: Tensor) -> Tensor:
    return sound.detach().float().cpu()

"""How natural speech sounds, as a network predicts what listeners would say that know no original."""

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.audio import resample
from mmgen.modalities.speech.evaluation.signal_metrics import INSTALL

_RATE = 16000  # Hz that DNSMOS hears


def require_dnsmos() -> None:
    """Raises UserError where the package is missing."""
    if find_spec("speechmos") is None:
        raise UserError(f"DNSMOS is in the package speechmos: {INSTALL}")


def dnsmos(sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Overall quality of each sound, (n,) float64 from 1 to 5 (DNSMOS P.835, Reddy et al. 2022): of speech under noise,
    which it was trained on; a sound is repeated until it is nine seconds long.

    Args:
        sounds: (T,) float32 in [-1, 1].
        sample_rate: in Hz.

    Raises:
        UserError: speechmos is not installed.
    """
    require_dnsmos()
    from speechmos import dnsmos as judge

    heard = (resample(sound.detach().float().cpu(), sample_rate, _RATE).clamp(-1, 1) for sound in sounds)
    found = [float(judge.run(sound.numpy(), _RATE)["ovrl_mos"]) for sound in heard]
    return torch.tensor(found, dtype=torch.float64)


def about() -> dict[str, str]:
    """What protocols say of it."""
    return {"mos": f"DNSMOS P.835 overall, speechmos {version('speechmos')}"}

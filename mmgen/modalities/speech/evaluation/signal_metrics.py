"""Metrics of speech against the original: pairs of sounds (T,) in [-1, 1] of the same length.

torchmetrics with pystoi and pesq, and torchaudio, do the arithmetic. A sound in which they find no speech is left out.
"""

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.shape_cache import remember
from mmgen.evaluation.command import Metric
from mmgen.media.audio import resample

Pairs = Sequence[tuple[Tensor, Tensor]]
"""Sounds as they were made, and as they should be."""

INSTALL = "pip install 'mmgen[speech-eval]'"
"""Of the packages that measure speech."""

WORST_PESQ = 1.0
"""Of what has no speech any more."""

_MEL_WINDOW, _MEL_BANDS, _MEL_FLOOR = 0.064, 80, 1e-4  # seconds; bands; magnitude below which all is silence
_MEL = f"L1 of log10 mel magnitudes: {_MEL_BANDS} bands, Hann windows of 64 ms every 16 ms, floor {_MEL_FLOOR:g}"


def require_speech_metrics() -> None:
    """Raises UserError where a package is missing."""
    for package in ("pystoi", "pesq"):
        if find_spec(package) is None:
            raise UserError(f"speech is measured by the package {package}: {INSTALL}")


def pair_metrics(pairs: Pairs, sample_rate: int) -> list[Metric]:
    """`stoi`, `pesq`, `mel_distance` and `si_sdr_db` of pairs at a rate in Hz. Raises UserError where there are no
    pairs, a package is missing, or no pair has speech.
    """
    require_speech_metrics()
    if not pairs:
        raise UserError("there are no sounds to compare")
    kinds: dict[str, tuple[Callable[[Tensor, Tensor, int], float | None], dict[str, str]]] = {
        "stoi": (stoi, {}),
        "pesq": (pesq, {"pesq": "narrow band at 8 kHz" if sample_rate == 8000 else "wide band at 16 kHz"}),
        "mel_distance": (mel_distance, {"mel_distance": _MEL}),
        "si_sdr_db": (si_sdr_db, {}),
    }
    metrics = []
    for name, (measure, how) in kinds.items():
        values = [value for pair in pairs if (value := measure(*pair, sample_rate)) is not None]
        if not values:
            raise UserError(f"none of the {len(pairs)} sounds has speech that {name} could be measured of")
        short = len(pairs) - len(values)
        left = {f"{name} without": f"{short} of too little"} if short else {}
        metrics.append(Metric(name, sum(values) / len(values), protocol=how | left))
    return metrics


def stoi(made: Tensor, truth: Tensor, sample_rate: int) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), 1 where nothing was lost; None where there is too little
    speech to tell.
    """
    from torchmetrics.functional.audio import short_time_objective_intelligibility as measure

    if not bool(truth.any()):
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = measure(made.double(), truth.double(), sample_rate).item()
        except (ValueError, IndexError):  # not a single frame
            return None
    return None if any("Not enough STFT frames" in str(each.message) for each in caught) else value


def pesq(made: Tensor, truth: Tensor, sample_rate: int) -> float | None:
    """Perceptual evaluation of speech quality, 1 to 4.6 (ITU-T P.862.2; at 8 kHz P.862); None where the truth has no
    speech, `WORST_PESQ` where just the other has none.
    """
    rate, mode = (8000, "nb") if sample_rate == 8000 else (16000, "wb")
    made, truth = (resample(x.float(), sample_rate, rate) for x in (made, truth))
    value = _pesq(made, truth, rate, mode)
    if value is not None:
        return value
    return None if _pesq(truth, truth, rate, mode) is None else WORST_PESQ


def mel_distance(made: Tensor, truth: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log10 mel magnitudes, 0 where nothing was lost."""
    transform = _mel(sample_rate)
    one, other = (transform(x.float()).clamp_min(_MEL_FLOOR).log10() for x in (made, truth))
    return (one - other).abs().mean().item()


def si_sdr_db(made: Tensor, truth: Tensor, sample_rate: int) -> float | None:
    """Ratio of signal to distortion under the best scale (Le Roux et al. 2019), in decibel; None for silence."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio as measure

    return measure(made.double(), truth.double()).item() if bool(truth.any()) else None


def _pesq(made: Tensor, truth: Tensor, rate: int, mode: str) -> float | None:
    from pesq import BufferTooShortError, NoUtterancesError
    from torchmetrics.functional.audio import perceptual_evaluation_speech_quality as measure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            value = measure(made, truth, rate, mode).item()
    except (BufferTooShortError, NoUtterancesError, ValueError):  # the last: silence cannot be brought to a level
        return None
    return None if value != value else value


@remember(4)
def _mel(sample_rate: int) -> Any:
    """(T,) -> (bands, frames)."""
    from torchaudio.transforms import MelSpectrogram

    window = round(_MEL_WINDOW * sample_rate)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*mel filterbank has all zero.*")  # at low rates
        return MelSpectrogram(
            sample_rate, window, hop_length=window // 4, n_mels=_MEL_BANDS, power=1.0, norm="slaney",
            mel_scale="slaney", pad_mode="constant", normalized="window",
        )  # fmt: skip

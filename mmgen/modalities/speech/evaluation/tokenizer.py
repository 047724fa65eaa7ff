"""Metrics of a tokenizer of speech: its reconstructions, how quickly it works, and how exactly it follows a stream."""

import torch
from torch import Tensor

from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.coding import TIMED, code_metrics, coding_times, reconstruct
from mmgen.evaluation.command import Metric, Report
from mmgen.modalities.speech.evaluation.listeners import word_error_metrics
from mmgen.modalities.speech.evaluation.recogniser import Recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import pair_metrics
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer


def measure_speech_tokenizer(
    tokenizer: AudioTokenizer,
    samples: Samples,
    recogniser: Recogniser | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> Report[list[Tensor]]:
    """Metrics of reconstructed sounds (T,) float32, without the silence that fills clips up.

    Continuous tokens have no bits and no codes, tokenizers that need the whole no latency. A recogniser adds `wer` and
    `cer` of the reconstructions and `wer_floor` of the recordings; the samples need transcripts.

    Raises:
        UserError: no clips, none with speech, clips without transcripts for a recogniser, or a package is missing.
    """
    spec, rate = tokenizer.spec, tokenizer.sample_rate
    transcripts = None if recogniser is None else samples.texts(torch.arange(len(samples)))
    made, real, codes = list[Tensor](), list[Tensor](), list[Tensor]()
    for each, decoded, values in reconstruct(tokenizer, samples, batch, progress):
        for row, length in enumerate(real_lengths(each).tolist()):
            made.append(decoded[row, 0, :length])
            real.append(each["x"][row, 0, :length])
            codes.append(values[row, : spec.latents(length)])
    metrics = pair_metrics(list(zip(made, real, strict=True)), rate)
    metrics += code_metrics(tokenizer, codes, Metric("kbps", spec.kbps))
    if recogniser is not None and transcripts is not None:
        metrics += word_error_metrics(recogniser, made, transcripts, rate)
        metrics += word_error_metrics(recogniser, real, transcripts, rate, "wer_floor")
    clips, error = [sound[None] for sound in real[: TIMED + 1]], "largest difference in [-1, 1]"
    return Report([*metrics, *coding_times(tokenizer, clips, rate, tokenizer.latency, "sound", error)], made)


def real_lengths(batch: dict[str, Tensor]) -> Tensor:
    """(b,) samples of each clip before the silence that fills it up; all where the batch does not say."""
    return batch["length"] if "length" in batch else torch.full((len(batch["x"]),), batch["x"].shape[2])

"""Figures of a tokenizer of speech: what it keeps of it, how quickly it works, and how exactly it follows a stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.metrics import code_figures
from mmgen.evaluation.timing import TIMED, coding_times
from mmgen.modalities.speech.evaluation.recogniser import Recogniser
from mmgen.modalities.speech.evaluation.signal_metrics import SpeechFigure, pair_figures
from mmgen.modalities.speech.evaluation.transcripts import NORMALISED, word_errors
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer


@dataclass(frozen=True, eq=False)
class CodecReport:
    """What a tokenizer keeps of held-out speech.

    Args:
        figures: one a metric.
        sounds: (T,) float32, every sound encoded and decoded again, in order, without the silence that fills clips up.
    """

    figures: list[SpeechFigure]
    sounds: list[Tensor]

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.figures}


@torch.no_grad()
def measure_speech_tokenizer(
    tokenizer: AudioTokenizer,
    samples: Samples,
    recogniser: Recogniser | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> CodecReport:
    """Encode and decode all clips, and compare what is no filling silence.

    Bits and codes are left out for continuous tokens, latency and the error of streaming for tokenizers that need the
    whole.

    Args:
        tokenizer: in evaluation mode; it runs on the device it is on.
        samples: held out, clips (1, T) in [-1, 1].
        recogniser: adds `wer` and `cer` of what was decoded and `wer_floor` of the recordings; the samples need texts.
        batch: clips at a time; changes nothing.
        progress: called with the number of clips that are done.

    Raises:
        UserError: no clips, none with speech, clips without texts for a recogniser, or a package is missing.
    """
    if not len(samples):
        raise UserError("there are no held-out clips to measure")
    said = None if recogniser is None else samples.texts(torch.arange(len(samples)))
    device, spec, rate = next(tokenizer.parameters()).device, tokenizer.spec, tokenizer.sample_rate
    made, real, codes = [], [], []
    for each in samples.batches(batch):
        x, lengths = each["x"], real_lengths(each)
        tokens = tokenizer.encode(x.to(device))
        decoded = tokenizer.decode(tokens, x.shape[2]).float().cpu()
        for row, length in enumerate(lengths.tolist()):
            made.append(decoded[row, 0, :length])
            real.append(x[row, 0, :length])
            if spec.kind != "continuous":
                codes.append(tokens.values[row, : spec.latents(length)].cpu())
        if progress is not None:
            progress(len(made))
    figures = pair_figures(list(zip(made, real, strict=True)), rate)
    if codes:
        figures.append(SpeechFigure("kbps", spec.kbps))
        figures += [SpeechFigure(name, value) for name, value in code_figures(torch.cat(codes), spec).items()]
    if recogniser is not None and said is not None:
        figures += recognised(recogniser, made, said, rate)
        figures.append(floor(recogniser, real, said, rate))
    return CodecReport([*figures, *timing(tokenizer, real[: TIMED + 1])], made)


def real_lengths(batch: dict[str, Tensor]) -> Tensor:
    """(b,) samples of each clip before the silence that fills it up; all where the batch does not say."""
    return batch["length"] if "length" in batch else torch.full((len(batch["x"]),), batch["x"].shape[2])


def recognised(
    recogniser: Recogniser, sounds: Sequence[Tensor], said: Sequence[str], sample_rate: int, name: str = "wer"
) -> list[SpeechFigure]:
    """`wer` and `cer` of sounds; under another name, the first alone."""
    words, characters = word_errors(recogniser.transcribe(sounds, sample_rate), said)
    how = recogniser.protocol | {"texts": NORMALISED}
    found = SpeechFigure(name, words, recogniser.name, how)
    return [found, SpeechFigure("cer", characters, recogniser.name, how)] if name == "wer" else [found]


def floor(recogniser: Recogniser, real: Sequence[Tensor], said: Sequence[str], sample_rate: int) -> SpeechFigure:
    """`wer_floor`: what the recogniser gets wrong in the recordings themselves."""
    return recognised(recogniser, real, said, sample_rate, "wer_floor")[0]


def timing(tokenizer: AudioTokenizer, sounds: Sequence[Tensor]) -> list[SpeechFigure]:
    """`real_time_factor`, and where the tokenizer streams `latency_ms` and `streaming_error`.

    Args:
        tokenizer: in evaluation mode.
        sounds: (T,), the first of which warms up, and counts where there is no other.
    """
    clips, rate = [sound[None] for sound in sounds], tokenizer.sample_rate
    return coding_times(tokenizer, clips, rate, tokenizer.latency, "sound", "largest difference in [-1, 1]")

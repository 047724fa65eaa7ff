"""Figures of a tokenizer of speech: what it keeps of it, how quickly it works, and how exactly it follows a stream."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.data.sources import Samples
from mmgen.errors import UserError
from mmgen.evaluation.measure import Progress
from mmgen.evaluation.metrics import code_figures
from mmgen.evaluation.recogniser import Recogniser
from mmgen.evaluation.speech import SpeechFigure, pair_figures
from mmgen.evaluation.transcripts import NORMALISED, word_errors
from mmgen.tokenizers.audio import AudioStream, AudioTokenizer
from mmgen.tokens import Tokens

TIMED = 4
"""Held-out sounds that are coded alone, and streamed, beside one that warms up."""


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


@torch.no_grad()
def timing(tokenizer: AudioTokenizer, sounds: Sequence[Tensor]) -> list[SpeechFigure]:
    """`real_time_factor`, and where the tokenizer streams `latency_ms` and `streaming_error`.

    Args:
        tokenizer: in evaluation mode.
        sounds: (T,), the first of which warms up, and counts where there is no other.
    """
    device, rate = next(tokenizer.parameters()).device, tokenizer.sample_rate
    streams, factors, error, differing, total = _streams(tokenizer), [], 0.0, 0, 0
    for turn, sound in enumerate(sounds):
        x = sound[None, None].to(device)
        started = now(device)
        tokens = tokenizer.encode(x)
        whole = tokenizer.decode(tokens, x.shape[2])
        spent = now(device) - started
        if turn or len(sounds) == 1:
            factors.append(spent * rate / x.shape[2])
            if streams:
                gap, other = _follow(tokenizer, x, tokens, whole)
                error, differing, total = max(error, gap), differing + other, total + tokens.values.numel()
    how = {"real_time_factor": "seconds to encode and decode a second, one sound at a time, median"}
    figures = [SpeechFigure("real_time_factor", _median(factors), protocol=how)]
    if streams and tokenizer.latency is not None:
        algorithmic = {"latency": "of the algorithm, without computing"}
        exact = {"streaming": "a token at a time against the whole sound, largest difference in [-1, 1]"}
        if tokenizer.spec.kind != "continuous":
            exact["tokens_encoded_otherwise"] = f"{differing / total:.2g}"
        figures.append(SpeechFigure("latency_ms", 1000 * tokenizer.latency / rate, protocol=algorithmic))
        figures.append(SpeechFigure("streaming_error", error, protocol=exact))
    return figures


def now(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _follow(tokenizer: AudioTokenizer, x: Tensor, tokens: Tokens, whole: Tensor) -> tuple[float, int]:
    """The largest difference between a streamed sound and the whole, and how many discrete tokens are encoded
    otherwise. The same discrete tokens are decoded both ways, since rounding alone may turn one into another;
    continuous ones go both ways twice.
    """
    stride, stream = tokenizer.spec.stride, tokenizer.streaming()
    assert isinstance(stream, AudioStream)
    coded = [*(stream.encode(part) for part in x.split(stride, dim=2)), stream.finish()]
    values = torch.cat([part.values for part in coded], dim=1)
    discrete = tokenizer.spec.kind != "continuous"
    parts, samples, sounds = (tokens.values if discrete else values).split(1, dim=1), x.shape[2], []
    for place, part in enumerate(parts):
        sounds.append(stream.decode(Tokens(part, (1, 1, 1)), min(stride, samples - place * stride)))
    gap = (torch.cat(sounds, dim=2) - whole).abs().max().item()
    return gap, int((values != tokens.values).sum()) if discrete else 0


def _streams(tokenizer: AudioTokenizer) -> bool:
    try:
        tokenizer.streaming()
    except UserError:
        return False
    return True


def _median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).median().item()

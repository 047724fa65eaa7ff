"""What a tokenizer does to held-out samples: reconstructions, codes, time, and how exactly it follows a stream."""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.core.tokens import Tokens
from mmgen.data.sources import Batch, Samples
from mmgen.evaluation.command import Metric
from mmgen.tokenizers import TimedTokenizer, Tokenizer
from mmgen.tokenizers.code_usage import code_figures

TIMED = 4
"""Held-out clips that are coded one by one and streamed, after one that warms up."""


@torch.no_grad()
def reconstruct(
    tokenizer: Tokenizer, samples: Samples, batch: int, progress: Progress | None = None
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Batches of held-out samples, their reconstructions (b, *sample_shape) float32 and their token values, both on the
    CPU; `progress` takes the number of samples that are done. Raises UserError for no samples.
    """
    if not len(samples):
        raise UserError("there are no held-out samples to measure; choose other --data")
    device, done = next(tokenizer.parameters()).device, 0
    for each in samples.batches(batch):
        x = each["x"]
        tokens = tokenizer.encode(x.to(device))
        yield each, _decode(tokenizer, tokens, x).float().cpu(), tokens.values.cpu()
        if progress is not None:
            progress(done := done + len(x))


def code_metrics(tokenizer: Tokenizer, codes: Sequence[Tensor], amount: Metric) -> list[Metric]:
    """`amount`, a rate in bits, and the usage of the codebook by token values; nothing for continuous tokens."""
    if tokenizer.spec.kind == "continuous":
        return []
    return [
        amount,
        *(Metric(name, value) for name, value in code_figures(torch.cat(list(codes)), tokenizer.spec).items()),
    ]


@torch.no_grad()
def coding_times(
    tokenizer: TimedTokenizer, clips: Sequence[Tensor], rate: float, latency: int | None, what: str, error: str
) -> list[Metric]:
    """`real_time_factor`, and where the tokenizer streams `latency_ms` and `streaming_error`.

    Args:
        tokenizer: in evaluation mode.
        clips: (C, T), the first of which warms up, and counts where there is no other.
        rate: samples or frames a second.
        latency: of the algorithm, in samples or frames; None where it does not stream.
        what: a clip is called, for the protocol.
        error: the unit of `streaming_error`, for the protocol.
    """
    device, stream, factors = next(tokenizer.parameters()).device, StreamCheck(tokenizer), []
    for turn, clip in enumerate(clips):
        x = clip[None].to(device)
        started = now(device)
        tokens = tokenizer.encode(x)
        whole = tokenizer.decode(tokens, x.shape[2])
        seconds = now(device) - started
        if turn or len(clips) == 1:
            factors.append(seconds * rate / x.shape[2])
            if stream.exists:
                stream.compare(x, tokens, whole)
    how = {"real_time_factor": f"seconds to encode and decode a second, one {what} at a time, median"}
    metrics = [Metric("real_time_factor", median(factors), protocol=how)]
    if stream.exists and latency is not None:
        algorithmic = {"latency": "of the algorithm, without computing"}
        metrics.append(Metric("latency_ms", 1000 * latency / rate, protocol=algorithmic))
        metrics.append(stream.error_metric(f"a token at a time against the whole {what}, {error}"))
    return metrics


@torch.no_grad()
def stream_times(tokenizer: Tokenizer, clips: Sequence[Tensor]) -> list[Metric]:
    """`latency_ms`, the median time to encode and decode one chunk after the first, and `streaming_error`; nothing
    where the tokenizer does not stream.

    Args:
        tokenizer: in evaluation mode.
        clips: (C, T, H, W), the first of which also warms up.
    """
    stream, first, later = StreamCheck(tokenizer), list[float](), list[float]()
    if not stream.exists:
        return []
    for turn, clip in enumerate([clips[0], *clips]):
        x = clip[None].to(next(tokenizer.parameters()).device)
        tokens = tokenizer.encode(x)
        seconds = stream.compare(x, tokens, _decode(tokenizer, tokens, x))
        if turn:
            first.append(seconds[0])
            later += seconds[1:]
    stride = tokenizer.spec.stride
    chunk = "a frame" if stride == 1 else f"{stride} frames"
    latency = {
        "latency": f"to encode and decode {chunk} of one clip in a stream, median",
        "first_frame_ms": float(f"{1000 * median(first):.4g}"),
    }
    return [
        Metric("latency_ms", 1000 * median(later or first), protocol=latency),
        stream.error_metric(f"{chunk} at a time against the whole clip, largest difference in [-1, 1]"),
    ]


class StreamCheck:
    """Compares streamed clips with whole ones. The same discrete tokens are decoded both ways, since rounding alone may
    turn one into another; continuous ones go both ways twice.

    Attributes:
        exists: whether the tokenizer streams.
        error: largest difference so far.
        differing: discrete tokens that the stream encodes otherwise, of `total`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.error, self.differing, self.total = tokenizer, 0.0, 0, 0
        try:
            tokenizer.streaming()
            self.exists = True
        except UserError:
            self.exists = False

    def compare(self, x: Tensor, tokens: Tokens, whole: Tensor) -> list[float]:
        """Stream one clip x (1, C, T, ...), whose tokens and reconstruction as a whole are known. Returns the seconds
        that each chunk took.
        """
        spec, stream, seconds, parts = self.tokenizer.spec, self.tokenizer.streaming(), list[float](), list[Tensor]()
        length, stride = x.shape[2], spec.stride
        short = length % stride if spec.fills_end else (length - 1) % stride + 1
        full = [stride] * ((length - short) // stride)
        sizes = [*full, *[short] * bool(short)] if spec.fills_end else [short, *full]
        for chunk in x.split(sizes, dim=2):
            started = now(x.device)
            parts.append(stream.encode(chunk).values)
            seconds.append(now(x.device) - started)
        if (rest := stream.finish()) is not None:
            parts.append(rest.values)
        values, frames = torch.cat(parts, dim=1), list[Tensor]()
        if spec.kind != "continuous":
            self.differing += int((values != tokens.values).sum())
            self.total += values.numel()
            values = tokens.values
        latents = values.split(math.prod(tokens.grid[1:]), dim=1)
        for number, (latent, size) in enumerate(zip(latents, sizes, strict=True)):
            started = now(x.device)
            frames.append(stream.decode(Tokens(latent, (1, *tokens.grid[1:])), size))
            seconds[number] += now(x.device) - started
        self.error = max(self.error, (torch.cat(frames, dim=2) - whole).abs().max().item())
        return seconds

    def error_metric(self, words: str) -> Metric:
        """`streaming_error`; the words say what was compared."""
        share = {"tokens_encoded_otherwise": f"{self.differing / self.total:.2g}"} if self.total else {}
        return Metric("streaming_error", self.error, protocol={"streaming": words} | share)


def now(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median(values: list[float]) -> float:
    """The lower one of two in the middle."""
    return torch.tensor(values, dtype=torch.float64).median().item()


def _decode(tokenizer: Tokenizer, tokens: Tokens, x: Tensor) -> Tensor:
    """Reconstructions of x, as long as x where the tokenizer takes several lengths."""
    if isinstance(tokenizer, TimedTokenizer) and tokenizer.spec.unit is not None:
        return tokenizer.decode(tokens, x.shape[2])
    return tokenizer.decode(tokens)

"""How quickly a tokenizer of timed samples works, and how exactly it follows a stream."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.evaluation.command import Metric
from mmgen.tokenizers import TimedTokenizer

TIMED = 4
"""Held-out clips that are coded alone, and streamed, beside one that warms up."""


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
        error: what streaming differs by at most, likewise.
    """
    device = next(tokenizer.parameters()).device
    streams, factors, gap, differing, total = _streams(tokenizer), [], 0.0, 0, 0
    for turn, clip in enumerate(clips):
        x = clip[None].to(device)
        started = now(device)
        tokens = tokenizer.encode(x)
        whole = tokenizer.decode(tokens, x.shape[2])
        spent = now(device) - started
        if turn or len(clips) == 1:
            factors.append(spent * rate / x.shape[2])
            if streams:
                largest, other = _follow(tokenizer, x, tokens, whole)
                gap, differing, total = max(gap, largest), differing + other, total + tokens.values.numel()
    how = {"real_time_factor": f"seconds to encode and decode a second, one {what} at a time, median"}
    figures = [Metric("real_time_factor", _median(factors), protocol=how)]
    if streams and latency is not None:
        algorithmic = {"latency": "of the algorithm, without computing"}
        exact = {"streaming": f"a token at a time against the whole {what}, {error}"}
        if tokenizer.spec.kind != "continuous":
            exact["tokens_encoded_otherwise"] = f"{differing / total:.2g}"
        figures.append(Metric("latency_ms", 1000 * latency / rate, protocol=algorithmic))
        figures.append(Metric("streaming_error", gap, protocol=exact))
    return figures


def now(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _follow(tokenizer: TimedTokenizer, x: Tensor, tokens: Tokens, whole: Tensor) -> tuple[float, int]:
    """The largest difference between a streamed clip and the whole, and how many discrete tokens are encoded
    otherwise. The same discrete tokens are decoded both ways, since rounding alone may turn one into another;
    continuous ones go both ways twice.
    """
    stride, stream = tokenizer.spec.stride, tokenizer.streaming()
    coded = [stream.encode(part) for part in x.split(stride, dim=2)]
    if (rest := stream.finish()) is not None:
        coded.append(rest)
    values = torch.cat([part.values for part in coded], dim=1)
    discrete = tokenizer.spec.kind != "continuous"
    parts, samples, made = (tokens.values if discrete else values).split(1, dim=1), x.shape[2], []
    for place, part in enumerate(parts):
        made.append(stream.decode(Tokens(part, (1, 1, 1)), min(stride, samples - place * stride)))
    gap = (torch.cat(made, dim=2) - whole).abs().max().item()
    return gap, int((values != tokens.values).sum()) if discrete else 0


def _streams(tokenizer: TimedTokenizer) -> bool:
    try:
        tokenizer.streaming()
    except UserError:
        return False
    return True


def _median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).median().item()

"""Figures of a tokenizer of clips: what it keeps of them, and how quickly and how exactly it follows a stream."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.core.tokens import Tokens
from mmgen.data.sources import Samples
from mmgen.evaluation.extractors import Extractor, as_floats, extract
from mmgen.evaluation.metrics import code_figures, fid
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.frame_metrics import (
    ClipFigure,
    ClipReport,
    decibel,
    frame_errors,
    frame_ssim,
    listed,
)
from mmgen.tokenizers import TimedTokenizer, Tokenizer

STREAMED = 4
"""Held-out clips that are streamed, beside one that warms up."""


@dataclass(frozen=True)
class Stream:
    """How a tokenizer follows a stream of one clip.

    Args:
        latency_ms: median time to encode and decode one chunk, the shortest that the stream takes, after the first.
        first_ms: median time of the first frame.
        error: largest difference between the streamed clip and the whole one, in [-1, 1]. The same discrete tokens are
            decoded both ways, since rounding alone may turn one into another; continuous ones go both ways twice.
        chunk: frames of a chunk.
        differing: share of discrete tokens that are encoded otherwise in a stream; None for continuous ones.
    """

    latency_ms: float
    first_ms: float
    error: float
    chunk: int
    differing: float | None

    def figures(self) -> list[ClipFigure]:
        """With how each was measured."""
        what = "a frame" if self.chunk == 1 else f"{self.chunk} frames"
        latency = {
            "latency": f"to encode and decode {what} of one clip in a stream, median",
            "first_frame_ms": float(f"{self.first_ms:.4g}"),
        }
        streaming = {"streaming": f"{what} at a time against the whole clip, largest difference in [-1, 1]"}
        if self.differing is not None:
            streaming["tokens_encoded_otherwise"] = f"{self.differing:.2g}"
        return [
            ClipFigure("latency_ms", self.latency_ms, protocol=latency),
            ClipFigure("streaming_error", self.error, protocol=streaming),
        ]


@torch.no_grad()
def measure_video_tokenizer(
    tokenizer: Tokenizer,
    samples: Samples,
    extractor: Extractor | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> ClipReport:
    """Encode and decode all clips; what comes out is rounded to bytes, as it would be saved.

    `psnr_db` is that of the mean squared error over all pixels of all frames, as of images; `ssim` the mean over
    frames. Bits and codes are left out for continuous tokens, latency for tokenizers that do not stream.

    Args:
        tokenizer: in evaluation mode; it runs on the device it is on.
        samples: held out, clips in [-1, 1].
        extractor: adds `rfvd`, the distance between the clips and their reconstructions.
        batch: clips at a time; changes nothing.
        progress: called with the number of clips that are done.

    Raises:
        UserError: no clips, or frames smaller than SSIM's window.
    """
    if not len(samples):
        raise UserError("there are no held-out clips to measure")
    device, spec = next(tokenizer.parameters()).device, tokenizer.spec
    discrete = spec.kind != "continuous"
    made, codes, errors, similar, done = [], [], [], [], 0
    for each in samples.batches(batch):
        tokens = tokenizer.encode(each["x"].to(device))
        frames = each["x"].shape[2]
        made.append(to_uint8(_decode(tokenizer, tokens, frames)))
        errors.append(frame_errors(as_floats(made[-1]), each["x"]))
        similar.append(frame_ssim(as_floats(made[-1]), each["x"]))
        if discrete:
            codes.append(tokens.values.cpu())
        if progress is not None:
            progress(done := done + len(each["x"]))
    error, ssim, clips = torch.cat(errors), torch.cat(similar), torch.cat(made)
    by_frame = decibel(error.mean(0, keepdim=True))
    # A frame that is exact in all clips has no finite PSNR, and JSON no word for it.
    curve = {"per_frame": listed(by_frame)} if bool(by_frame.isfinite().all()) else {}
    figures = [
        ClipFigure("psnr_db", decibel(error.mean()).item(), protocol=curve),
        ClipFigure("ssim", ssim.mean().item(), protocol={"per_frame": listed(ssim)}),
    ]
    if discrete:
        figures.append(ClipFigure("bits_per_frame", spec.with_frames(frames).bits_per_sample / frames))
        figures += [ClipFigure(name, value) for name, value in code_figures(torch.cat(codes), spec).items()]
    if extractor is not None:
        real = extract(extractor, (each["x"] for each in samples.batches(batch)))
        distance = fid(real, extract(extractor, map(as_floats, clips.split(batch))))
        figures.append(ClipFigure(f"r{extractor.distance}", distance, extractor))
    stream = measure_stream(tokenizer, samples)
    return ClipReport(figures if stream is None else [*figures, *stream.figures()], clips)


@torch.no_grad()
def measure_stream(tokenizer: Tokenizer, samples: Samples, clips: int = STREAMED) -> Stream | None:
    """Code some clips one after the other, a chunk at a time, and compare with each as a whole; None where the
    tokenizer does not stream. The first clip is coded once before, to warm up.
    """
    try:
        tokenizer.streaming()
    except UserError:
        return None
    device, chunk = next(tokenizer.parameters()).device, tokenizer.spec.stride
    discrete = tokenizer.spec.kind != "continuous"
    first, later, error, differing, total = [], [], 0.0, 0, 0
    index = torch.arange(min(clips, len(samples)))
    for turn, x in enumerate(samples.take(index[[0, *index.tolist()]])["x"].to(device).split(1)):
        whole = tokenizer.encode(x)
        stream, times, found, frames = tokenizer.streaming(), [], [], []
        border = (x.shape[2] - 1) % chunk + 1  # the remainder comes first
        for part in (x[:, :, :border], *x[:, :, border:].split(chunk, dim=2)):
            started = _now(device)
            tokens = stream.encode(part)
            frames.append(stream.decode(tokens, part.shape[2]))
            times.append(_now(device) - started)
            found.append(tokens.values)
        values = torch.cat(found, dim=1)
        if discrete:
            differing, total = differing + int((values != whole.values).sum()), total + values.numel()
            again = tokenizer.streaming()
            size = values.shape[1] // len(found)
            parts = whole.values.split(size, dim=1)
            grid, lengths = (1, *whole.grid[1:]), [part.shape[2] for part in frames]
            frames = [again.decode(Tokens(part, grid), t) for part, t in zip(parts, lengths, strict=True)]
        gap = (torch.cat(frames, dim=2) - _decode(tokenizer, whole, x.shape[2])).abs().max().item()
        if turn:
            first.append(times[0])
            later += times[1:]
        error = max(error, gap)
    share = differing / total if discrete else None
    return Stream(1000 * _median(later or first), 1000 * _median(first), error, chunk, share)


def _decode(tokenizer: Tokenizer, tokens: Tokens, frames: int) -> Tensor:
    """Clips of so many frames, where the tokenizer takes several numbers of them."""
    return tokenizer.decode(tokens, frames) if isinstance(tokenizer, TimedTokenizer) else tokenizer.decode(tokens)


def _now(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).median().item()

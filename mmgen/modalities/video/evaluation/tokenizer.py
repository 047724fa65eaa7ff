"""Metrics of a tokenizer of clips: its reconstructions, and how quickly and how exactly it follows a stream."""

import torch
from torch import Tensor

from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.coding import TIMED, code_metrics, reconstruct, stream_times
from mmgen.evaluation.command import Metric, Report
from mmgen.evaluation.extractors import Extractor, as_floats, extract, extractor_metric, real_features
from mmgen.evaluation.metrics import decibel, fid
from mmgen.media.images import to_uint8
from mmgen.modalities.video.evaluation.frame_metrics import frame_errors, frame_means, frame_ssim
from mmgen.tokenizers import Tokenizer


def measure_video_tokenizer(
    tokenizer: Tokenizer,
    samples: Samples,
    extractor: Extractor | None = None,
    batch: int = 16,
    progress: Progress | None = None,
) -> Report[Tensor]:
    """Metrics of reconstructed clips, rounded to bytes as they would be saved: (N, C, T, H, W) uint8 in the report.

    `psnr_db` is that of the mean squared error over all pixels of all frames; `ssim` the mean over frames. An extractor
    adds `rfvd`, the distance between the clips and their reconstructions. Continuous tokens have no bits and no codes,
    tokenizers that do not stream no latency.

    Raises:
        UserError: no clips, or frames smaller than SSIM's window.
    """
    clips, codes, errors, similarity = [], [], [], []
    for each, decoded, values in reconstruct(tokenizer, samples, batch, progress):
        clips.append(to_uint8(decoded))
        codes.append(values)
        errors.append(frame_errors(as_floats(clips[-1]), each["x"]))
        similarity.append(frame_ssim(as_floats(clips[-1]), each["x"]))
    error, ssim, frames = torch.cat(errors), torch.cat(similarity), clips[0].shape[2]
    # A frame that is exact in all clips has no finite PSNR, and JSON no word for it.
    finite = bool((error.mean(0) > 0).all())
    curve = {"per_frame": frame_means(decibel(error.mean(0, keepdim=True)))} if finite else {}
    bits = tokenizer.spec.with_frames(frames).bits_per_sample / frames
    metrics = [
        Metric("psnr_db", decibel(error.mean()).item(), protocol=curve),
        Metric("ssim", ssim.mean().item(), protocol={"per_frame": frame_means(ssim)}),
        *code_metrics(tokenizer, codes, Metric("bits_per_frame", bits)),
    ]
    if extractor is not None:
        distance = fid(real_features(extractor, samples, batch), extract(extractor, map(as_floats, clips)))
        metrics.append(extractor_metric(f"r{extractor.distance}", distance, extractor))
    streamed = samples.take(torch.arange(min(TIMED, len(samples))))["x"]
    return Report([*metrics, *stream_times(tokenizer, list(streamed))], torch.cat(clips))

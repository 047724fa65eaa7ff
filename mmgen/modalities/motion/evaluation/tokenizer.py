"""Metrics of a tokenizer of motions: its reconstructions, how quickly it works, and how exactly it streams."""

import torch
from torch import Tensor

from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.coding import TIMED, code_metrics, coding_times, reconstruct
from mmgen.evaluation.command import Metric, Report
from mmgen.modalities.motion.evaluation.network import frames_of, motions_of
from mmgen.modalities.motion.features import position_errors
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer

_HOW = {
    "mpjpe_mm": "joints, roots put upon each other in every frame (as MoMask has it), mean over motions",
    "root_mm": "roots, both beginning at one place and facing, mean over motions",
}


def measure_motion_tokenizer(
    tokenizer: MotionTokenizer, samples: Samples, batch: int = 16, progress: Progress | None = None
) -> Report[list[Tensor]]:
    """Metrics of reconstructed motions (D, T), without what fills them up. Continuous tokens have no bits and no codes,
    tokenizers that need the whole no latency. Raises UserError for no motions.
    """
    spec, errors = tokenizer.spec, dict[str, list[Tensor]]()
    made, real, codes = list[Tensor](), list[Tensor](), list[Tensor]()
    for each, decoded, values in reconstruct(tokenizer, samples, batch, progress):
        lengths = frames_of(each)
        for name, error in position_errors(decoded, each["x"], lengths).items():
            errors.setdefault(name, []).append(error)
        made += motions_of(each | {"x": decoded})
        real += motions_of(each)
        codes += [row[: spec.latents(length)] for row, length in zip(values, lengths.tolist())]
    metrics = [
        Metric(name, torch.cat(parts).mean().item(), protocol={name: _HOW[name]}) for name, parts in errors.items()
    ]
    metrics += code_metrics(tokenizer, codes, Metric("kbps", spec.kbps))
    latency = spec.stride if tokenizer.causal else None
    longest = sorted(real, key=lambda motion: motion.shape[1], reverse=True)[: TIMED + 1]
    times = coding_times(tokenizer, longest, tokenizer.fps, latency, "motion", "largest difference of a raw feature")
    return Report([*metrics, *times], made)

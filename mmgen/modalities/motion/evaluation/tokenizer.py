"""Figures of a tokenizer of motions: what it keeps of them, how quickly it works, and how exactly it streams."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import Progress
from mmgen.data.sources import Samples
from mmgen.evaluation.command import Metric
from mmgen.evaluation.metrics import code_figures
from mmgen.evaluation.timing import TIMED, coding_times
from mmgen.modalities.motion.distance import position_errors
from mmgen.modalities.motion.evaluation.network import frames_of, motions_of
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer

_HOW = {
    "mpjpe_mm": {"mpjpe_mm": "joints, roots put upon each other in every frame (as MoMask has it), mean over motions"},
    "root_mm": {"root_mm": "roots, both beginning at one place and facing, mean over motions"},
}


@dataclass(frozen=True, eq=False)
class MotionTokenizerReport:
    """What a tokenizer keeps of held-out motions.

    Args:
        figures: one a metric.
        motions: (D, T) raw features, every motion encoded and decoded again, in order, without what fills it up.
    """

    figures: list[Metric]
    motions: list[Tensor]

    @property
    def values(self) -> dict[str, float]:
        """Full metric name -> value."""
        return {each.name: each.value for each in self.figures}


@torch.no_grad()
def measure_motion_tokenizer(
    tokenizer: MotionTokenizer, samples: Samples, batch: int = 16, progress: Progress | None = None
) -> MotionTokenizerReport:
    """Encode and decode all motions, and compare what does not fill them up.

    Bits and codes are left out for continuous tokens, latency and the error of streaming for tokenizers that need the
    whole.

    Args:
        tokenizer: in evaluation mode; it runs on the device it is on.
        samples: held out, motions (D, T) of raw features.
        batch: motions at a time; changes nothing.
        progress: called with the number of motions that are done.

    Raises:
        UserError: no motions.
    """
    if not len(samples):
        raise UserError("there are no held-out motions to measure")
    device, spec = next(tokenizer.parameters()).device, tokenizer.spec
    errors: dict[str, list[Tensor]] = {}
    made, real, codes = list[Tensor](), list[Tensor](), list[Tensor]()
    for each in samples.batches(batch):
        x, lengths = each["x"], frames_of(each)
        tokens = tokenizer.encode(x.to(device))
        decoded = tokenizer.decode(tokens, x.shape[2]).float().cpu()
        for name, error in position_errors(decoded, x, lengths).items():
            errors.setdefault(name, []).append(error)
        made += motions_of(each | {"x": decoded})
        real += motions_of(each)
        if spec.kind != "continuous":
            codes += [row[: spec.latents(length)] for row, length in zip(tokens.values.cpu(), lengths.tolist())]
        if progress is not None:
            progress(len(made))
    figures = [Metric(name, torch.cat(found).mean().item(), protocol=_HOW[name]) for name, found in errors.items()]
    if codes:
        figures.append(Metric("kbps", spec.kbps))
        figures += [Metric(name, value) for name, value in code_figures(torch.cat(codes), spec).items()]
    latency = spec.stride if tokenizer.causal else None
    longest = sorted(real, key=lambda motion: motion.shape[1], reverse=True)[: TIMED + 1]
    times = coding_times(tokenizer, longest, tokenizer.fps, latency, "motion", "largest difference of a raw feature")
    return MotionTokenizerReport([*figures, *times], made)

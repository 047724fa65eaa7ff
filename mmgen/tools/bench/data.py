"""What the loader delivers against what a training step needs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mmgen.core.layout import grid_layout
from mmgen.core.masks import get_mask
from mmgen.core.tokens import TokenSpec
from mmgen.data.build import open_source
from mmgen.data.loader import slot_loader
from mmgen.data.sources import CachedTokens
from mmgen.data.stream import RankBatches, Split, Stream
from mmgen.model.backbone import Transformer
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.timing import compare

ROWS, LENGTH = 8, 256


@register("data", "samples a second of the loader alone, in the training process, against what a training step takes")
def data(conditions: Conditions) -> Iterator[Result]:
    """Batches of 8: stored tokens and images, against forward and backward of a small backbone, 256 positions each."""
    dim, depth, heads = conditions.shape
    model = Transformer(dim=dim, depth=depth, heads=heads, modulation="none").to(conditions.device)
    row, mask = grid_layout((LENGTH, 1, 1)).to(conditions.device), get_mask("causal")
    x = torch.randn(ROWS, LENGTH, dim, device=conditions.device)

    def step() -> None:
        model.zero_grad()
        model(x, row, mask).square().mean().backward()

    with TemporaryDirectory() as folder:
        path = Path(folder) / "tokens"
        CachedTokens.make_fake(path, conditions.size(5000, 100), TokenSpec("categorical", 1024, (LENGTH, 1, 1)))
        for name, source in {"tokens": CachedTokens(path), "digits": open_source("digits")}.items():
            samples = source.samples("train")
            batches = RankBatches(Stream(len(samples), 0), Split(ROWS), 0, lambda: 0)
            loader = iter(slot_loader(samples, 0, batches=batches, seed=0))
            measured = compare({"ours": partial(next, loader), "a step": step}, conditions.runs)
            waiting = measured.median("ours") / (measured.median("ours") + measured.median("a step"))
            yield conditions.result(
                f"data/{name}", measured, "a step", work=ROWS, unit="samples/s", goal=20.0,
                more={"wait_share": waiting}, rows=ROWS, workers=0, backbone=conditions.shape,
            )  # fmt: skip

"""What attention costs against the length of a row, mask by mask."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from mmgen.core.layout import Layout, clean, grid_layout, noisy, prefix
from mmgen.core.masks import get_mask
from mmgen.model.backbone.attention import realise
from mmgen.tools.bench.benchmark import Conditions, Result, register

LENGTHS = (256, 512, 1024, 2048)
BLOCKS = 16  # a row, where a mask counts blocks or frames


def _row(length: int) -> Layout:
    return grid_layout((BLOCKS, 1, length // BLOCKS), length // BLOCKS)


ROWS: dict[str, Callable[[int], Layout]] = {
    "bidirectional": _row,
    "causal": _row,
    "prefix": lambda length: prefix(length // 4) + grid_layout((1, 1, length - length // 4)),
    "sliding_window(128)": _row,
    "block_causal": _row,
    "frame_wise": _row,
    "frame_local": _row,
    "skip_causal": lambda length: clean(_row(length // 2)) + noisy(_row(length // 2)),
}
"""The masks, and the row that each is measured on."""


@register("masks", "attention of one row under each mask against attention of all to all, by length")
@torch.no_grad()
def masks(conditions: Conditions) -> Iterator[Result]:
    """6 heads of 64 at batch 1, forward; the mask is realised beforehand, as it is for all blocks of a pass."""
    heads, width = 6, 64
    for name, row in ROWS.items():
        for length in LENGTHS if not conditions.tiny else (2 * BLOCKS,):
            mask, layout = get_mask(name), row(length).to(conditions.device)
            source = torch.Generator().manual_seed(0)
            q, k, v = torch.randn(3, 1, heads, length, width, generator=source).to(conditions.device)
            attend, sees = realise(mask, layout, layout, q.dtype), mask.dense(layout, layout)
            dense = partial(F.scaled_dot_product_attention, q, k, v, attn_mask=sees)
            torch.testing.assert_close(attend(q, k, v), dense(), rtol=1e-4, atol=1e-4)
            contenders: dict[str, Callable[[], object]] = {
                "ours": partial(attend, q, k, v),
                "all to all": partial(F.scaled_dot_product_attention, q, k, v),
                "dense mask": dense,
            }
            measured = conditions.compare(contenders)
            more = {"visible_share": float(sees.double().mean()), "dense_mask_ms": 1e3 * measured.median("dense mask")}
            settings: dict[str, Any] = {"heads": heads, "head_dim": width, "length": length}
            yield conditions.result(f"masks/{name}/{length}", measured, "all to all", more=more, **settings)

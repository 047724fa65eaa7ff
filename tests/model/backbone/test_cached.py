"""Law 3 for the backbone: pieces of a row over a cache are the whole row, for every option, mixer and way to run it."""

import pytest
import torch
from torch import Tensor

from mmgen.core.layout import Layout, grid_layout, pad, prefix
from mmgen.core.mask import Mask
from mmgen.core.masks import get_mask
from mmgen.core.vocabulary import subclasses
from mmgen.model.backbone import Compiled, Packed, Transformer, compile_passes, prepare
from mmgen.model.backbone.mixers import Attention, Mixer

LAYOUT = prefix(1) + grid_layout((1, 3, 3), 4)
FRAMES = prefix(1) + grid_layout((3, 1, 3), 3)
OPTIONS: dict[str, dict[str, object]] = {
    "default": {},
    "bare": {"modulation": "none"},
    "layer-gelu": {"norm": "layer", "mlp": "gelu", "bias": True, "modulation": "none"},
    "layer-modulated": {"norm": "layer", "bias": True, "norm_affine": False},
    "grouped": {"kv_heads": 2, "qk_norm": "layer", "mlp": "gelu_tanh"},
    "shared-adaln": {"modulation": "adaln_shared", "mlp": "silu", "qk_norm": "none", "norm_affine": False},
    "plain": {"modulation": "none", "rope": None, "mlp": "relu", "mlp_hidden": 48, "final_norm": False},
    "zero-prefix": {"rope_prefix": "zero", "rope": (1, 0, 0), "dropout": 0.5},
}
"""Of backbones that are packed."""
POST = {"norm": "layer", "norm_order": "post", "mlp": "gelu", "bias": True, "modulation": "none"}
WAYS = {"called": Transformer, "packed": Packed, "compiled": Compiled}
CLASSES = subclasses(Mixer)  # type: ignore[type-abstract]
MIXERS = {each.__name__: {"mixers": [each]} for each in CLASSES} | {
    f"{each.__name__}-attention": {"mixers": [each, Attention]} for each in CLASSES
}
EVERY = {**OPTIONS, "post": POST, **MIXERS}
TRACED = "post", "grouped", "shared-adaln"  # which differ in what a compiled pass reads: tracing one takes seconds
NAMES = {"called": EVERY, "packed": OPTIONS, "compiled": TRACED}
CASES = [(way, name) for way, names in NAMES.items() for name in names]


def backbone(dtype: torch.dtype, **changes: object) -> Transformer:
    """A small one whose zero-initialised maps have weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(**({"dim": 32, "depth": 2, "heads": 4} | changes)).to(dtype).eval()  # type: ignore[arg-type]
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def inputs(dtype: torch.dtype, rows: int = 3, length: int = 10) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(rows, length, 32, generator=source).to(dtype), torch.randn(rows, 32, generator=source).to(dtype)


def pieces_equal_the_whole(
    way: str, model: Transformer, mask: Mask, layout: Layout, cuts: list[int], rows: int = 3, follows: bool = False
) -> None:
    """Also where every piece was first run as one that does not stay, and whatever lay in the memory of the cache."""
    if way == "compiled":
        torch.compiler.reset()
        compile_passes(model, "eager")
    run = model if way == "called" else prepare(model)
    assert type(run) is WAYS[way]
    near = 1e-12 if model.dtype == torch.float64 else 1e-5
    (x, cond), cache, pieces = inputs(model.dtype, rows), model.new_cache(rows, 10 + (way == "compiled")), []
    expected = model(x, layout, mask, cond)
    torch.testing.assert_close(run(x, layout, mask, cond), expected, rtol=near, atol=near)
    cache.whole.fill_(torch.nan)
    if follows:
        run.follow(mask, layout)
    for begin, end in zip(cuts, cuts[1:]):
        here = layout.slice(begin, end)
        if way == "called":
            run(-x[:, begin:end], here, mask, cond, cache=cache, store=0)
        pieces.append(run(x[:, begin:end], here, mask, cond, cache=cache))
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, rtol=near, atol=near)
    assert cache.length == 10 and cache.layout is not None and torch.equal(cache.layout.rank, layout.rank)


@pytest.mark.parametrize(("way", "name"), CASES)
@torch.no_grad()
def test_pieces_equal_the_whole(way: str, name: str) -> None:
    cuts = [0, 4, 5, 6, 10] if way == "compiled" else [0, 1, 2, 6, 7, 10]
    model = backbone(torch.float64, **({"depth": 1} if way == "compiled" else {}), **EVERY[name])
    pieces_equal_the_whole(way, model, get_mask("causal"), LAYOUT, cuts)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("masks", [["block_causal"], ["frame_local", "temporal_causal"]], ids=str)
@torch.no_grad()
def test_blocks_and_masks_by_layer(way: str, masks: list[str]) -> None:
    if way == "compiled" and len(masks) == 1:
        return
    layout, cuts = (LAYOUT, [0, 1, 2, 6, 10]) if len(masks) == 1 else (FRAMES, [0, 1, 4, 7, 10])
    pieces_equal_the_whole(
        way, backbone(torch.float64, depth=2 if way == "compiled" else 3), get_mask(masks), layout, cuts
    )


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", [1, 3])
@torch.no_grad()
def test_a_row_that_is_followed(name: str, dtype: torch.dtype, rows: int) -> None:
    model = backbone(dtype, **OPTIONS[name])
    pieces_equal_the_whole("packed", model, get_mask("causal"), LAYOUT, [0, 1, 2, 6, 7, 10], rows, follows=True)


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_rows_of_several_lengths(way: str) -> None:
    layout = pad(LAYOUT, torch.tensor([9, 4, 6]), 1)
    model, cuts = backbone(torch.float64, depth=1), list(range(11))
    pieces_equal_the_whole(way, model, get_mask("causal"), layout, cuts, follows=way == "packed")

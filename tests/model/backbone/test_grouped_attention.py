"""Attention by groups of queries is dense attention, for every mask whose plan saves work, and hides as well."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy, pack, pad, prefix
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.attention import realise
from mmgen.model.backbone.cpu.grouped import grouped_attention
from mmgen.model.backbone.cpu.grouped_plan import LEAST, WORTH, Plan, plan


def two_streams(length: int, block: int) -> Layout:
    grid = grid_layout((1, 1, length), block_size=block)
    return prefix(1) + clean(grid) + noisy(grid)


def documents() -> Layout:
    return pack([prefix(2) + grid_layout((1, 1, length)) for length in (300, 7, 120, 40, 200, 3)])


def in_disorder() -> Layout:
    order = torch.randperm(640, generator=torch.Generator().manual_seed(0))
    return grid_layout((1, 1, 640)).but(rank=order[None])


SPARSE: dict[str, tuple[str, Callable[[], Layout]]] = {
    "blocks of 64": ("skip_causal", lambda: two_streams(384, 64)),
    "blocks of 50, remainder first": ("skip_causal", lambda: two_streams(390, 50)),
    "blocks of one token": ("skip_causal", lambda: two_streams(400, 1)),
    "long blocks": ("block_causal", lambda: prefix(3) + grid_layout((1, 1, 2000), block_size=400)),
    "frames": ("frame_wise", lambda: prefix(5) + grid_layout((12, 8, 16))),
    "one frame": ("frame_local", lambda: grid_layout((8, 8, 16))),
    "same place": ("temporal_causal", lambda: grid_layout((16, 16, 8))),
    "window": ("sliding_window(100)", lambda: prefix(3) + grid_layout((1, 1, 901))),
    "window of blocks": ("block_window(2)", lambda: grid_layout((1, 1, 900), block_size=64)),
    "sink": ("block_sink(1)", lambda: grid_layout((1, 1, 900), block_size=64)),
    "packed": ("causal", documents),
    "packed and bidirectional": ("bidirectional", documents),
    "streams": ("any_order", lambda: clean(grid_layout((1, 1, 500))) + noisy(grid_layout((1, 1, 500)))),
}


@pytest.fixture(params=SPARSE)
def sparse(request: pytest.FixtureRequest) -> tuple[Mask, Layout, Plan]:
    name, make = SPARSE[request.param]
    mask, layout = get_mask(name), make()
    groups = plan(mask, layout, layout)
    assert groups is not None
    return mask, layout, groups


def inputs(layout: Layout, heads: int = 2, kv_heads: int = 2, rows: int = 2, dtype=torch.float64) -> list[Tensor]:
    """q, k and v as the backbone has them: channels last, then heads, then positions."""
    source = torch.Generator().manual_seed(0)
    shapes = [(rows, layout.length, count, 8) for count in (heads, kv_heads, kv_heads)]
    made = [torch.randn(shape, generator=source, dtype=dtype).transpose(1, 2) for shape in shapes]
    return [each.requires_grad_() for each in made]


def test_a_plan_covers_every_visible_pair_once(sparse: tuple[Mask, Layout, Plan]) -> None:
    """And skips most of what is hidden, or it would not have been made."""
    mask, layout, groups = sparse
    seen = torch.zeros(layout.length, layout.length, dtype=torch.int64)
    touched = 0
    for group in groups:
        for stretch in group.stretches:
            visible = torch.ones(1) if stretch.bias is None else (stretch.bias[0, 0] == 0).long()
            tile = seen[group.queries, stretch.keys]
            tile += visible.long()
            touched += tile.numel()
            blind = torch.zeros(len(tile), dtype=torch.bool) if stretch.blind is None else stretch.blind
            assert torch.equal((visible.expand_as(tile) == 0).all(1), blind)
    assert torch.equal(seen, mask.dense(layout, layout)[0, 0].long())
    assert touched < WORTH * layout.length**2
    assert [group.queries.start for group in groups[1:]] == [group.queries.stop for group in groups[:-1]]


def test_it_equals_dense_attention(sparse: tuple[Mask, Layout, Plan]) -> None:
    """Forward and backward, in float64 and with fewer keys than queries a head."""
    mask, layout, groups = sparse
    q, k, v = inputs(layout, heads=4)
    upstream = torch.randn(q.shape, generator=torch.Generator().manual_seed(1), dtype=q.dtype)
    assert realise(mask, layout, layout, q.dtype).groups is groups
    ours = realise(mask, layout, layout, q.dtype)(q, k, v)
    dense = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(layout, layout), enable_gqa=True)
    torch.testing.assert_close(ours, dense, rtol=0, atol=1e-12)
    for mine, other in zip(*(torch.autograd.grad(out, (q, k, v), upstream) for out in (ours, dense)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(grouped_attention(q, k, v, groups), ours)


def test_what_is_hidden_changes_no_bit_and_gets_no_gradient(sparse: tuple[Mask, Layout, Plan]) -> None:
    """As for every realisation of a mask, here for a few keys, among them those at borders of groups."""
    mask, layout, groups = sparse
    q, k, v = inputs(layout, rows=1, dtype=torch.float32)
    seen = mask.dense(layout, layout)[0, 0]
    before = grouped_attention(q, k, v, groups)
    for key in {0, layout.length - 1, 333, *(group.queries.start for group in groups[::4])}:
        other_k, other_v = k.detach().clone(), v.detach().clone()
        other_k[:, :, key] += 3
        other_v[:, :, key] = 1e4
        same = (grouped_attention(q.detach(), other_k, other_v, groups) == before).all(-1).all(1)[0]
        assert torch.equal(same, ~seen[:, key]), key
    for query in (0, 211, layout.length - 1):
        to_k, to_v = torch.autograd.grad(before[:, :, query].square().sum(), (k, v), retain_graph=True)
        assert torch.equal(((to_k != 0) | (to_v != 0)).any(-1).any(1)[0], seen[query]), query


def test_an_expanded_gradient_is_read_as_what_it_is() -> None:
    """`sum` hands back a gradient without memory of its own, which the kernel would misread."""
    layout = two_streams(384, 64)
    groups = plan(get_mask("skip_causal"), layout, layout)
    assert groups is not None
    q, k, v = inputs(layout)
    (expanded,) = torch.autograd.grad(grouped_attention(q, k, v, groups).sum(), v)
    (plain,) = torch.autograd.grad(grouped_attention(q, k, v, groups), v, torch.ones_like(q))
    torch.testing.assert_close(expanded, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CATALOGUE)
def test_small_rows_and_rows_that_differ_take_the_dense_mask(name: str) -> None:
    layout, mask = grid_layout((1, 1, 600), block_size=100), get_mask(name)
    assert plan(mask, layout.slice(0, 255), layout.slice(0, 255)) is None
    assert plan(mask, pad(layout, torch.tensor([600, 200])), layout) is None
    assert layout.length**2 > LEAST


def test_a_mask_without_order_is_not_worth_a_plan() -> None:
    layout = in_disorder()
    assert plan(get_mask("causal"), layout, layout) is None


def test_a_query_that_sees_nothing_is_left_to_the_dense_kernel() -> None:
    nobody = Mask("nobody", lambda q, k: (k.rank < q.rank) & (k.rank >= q.rank - 9))
    layout = grid_layout((1, 1, 900))
    assert plan(nobody, layout, layout) is None


def test_half_precision_joins_stretches_in_single_precision() -> None:
    layout = two_streams(384, 64)
    mask = get_mask("skip_causal")
    q, k, v = (x.detach() for x in inputs(layout, dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        ours = realise(mask, layout, layout, q.dtype)(q, k, v)
        dense = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(layout, layout))
    assert ours.dtype == dense.dtype == torch.bfloat16
    torch.testing.assert_close(ours, dense, rtol=0, atol=2**-7 * float(dense.abs().max()))


def backbone() -> Transformer:
    torch.manual_seed(0)
    return Transformer(dim=16, depth=2, heads=2, modulation="none").double()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_backbone_learns_the_same(checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gradient of two layers, with and without plans."""
    layout, mask = two_streams(384, 64), get_mask("skip_causal")
    x = torch.randn(1, layout.length, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    grads = []
    for dense in (False, True):
        if dense:
            monkeypatch.setattr("mmgen.model.backbone.attention.plan", lambda *_: None)
        model = backbone()
        model.checkpointing = checkpointing
        model(x, layout, mask).square().sum().backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*grads, strict=True):
        assert one is not None and other is not None
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_compiled_block_takes_it() -> None:
    """Traced by dynamo alone: a compiler behind it sees the parts before and after."""
    layout, mask = two_streams(384, 64), get_mask("skip_causal")
    x = torch.randn(1, layout.length, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plain, compiled = backbone(), backbone()
    for block in compiled.blocks:
        block.compile(dynamic=True, backend="eager")
    torch.testing.assert_close(compiled(x, layout, mask), plain(x, layout, mask), rtol=0, atol=1e-10)

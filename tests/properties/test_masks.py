"""Laws 1 and 2 for every mask of the catalogue: what a mask hides leaks nothing, and all of its realisations agree.

Each law runs on the mask's own example, on samples packed into one long row, on a ragged batch, and on slices of those.
"""

import math
import shutil
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.core.layout import Layout, Role, clean, grid_layout, noisy, pack, pad, prefix
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.model.backbone.attention import realise

HEADS, WIDTH = 2, 8


def settings_of(name: str, samples: int = 2) -> Iterator[tuple[str, Layout, Layout]]:
    """(what it is, queries, keys): shared, packed and ragged layouts, most of odd length."""
    queries, keys = example(name)
    yield "example", queries, keys
    shorter = keys.slice(0, keys.length - 3)
    ends = (queries, keys) if queries is not keys else (shorter, shorter)
    rows = [(queries, keys)] * (samples - 1) + [ends]
    row_queries, row_keys = pack([q for q, _ in rows]), pack([k for _, k in rows])
    yield "packed", row_queries, row_keys
    ragged = pad(keys, torch.tensor([keys.length, 1, keys.length - 3]))
    yield "ragged", ragged if queries is keys else queries, ragged
    yield "slice", row_queries.slice(3, 8), row_keys


def inputs(
    queries: Layout, keys: Layout, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Random q, k and v for the layouts, (batch, heads, length, width)."""
    source = torch.Generator().manual_seed(seed)
    batch = max(queries.batch, keys.batch)
    lengths = (queries.length, keys.length, keys.length)
    q, k, v = (torch.randn(batch, HEADS, length, WIDTH, generator=source, dtype=dtype) for length in lengths)
    return q, k, v


def reachable(mask: Mask, queries: Layout, keys: Layout) -> Tensor:
    """(b, Nq, Nk) bool: pairs with any weight at all, a leak's included."""
    return mask.bias(queries, keys)[:, 0] > -math.inf


# Law 1: no leak.


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_query_keeps_a_key(name: str) -> None:
    """An empty row of a softmax is NaN."""
    for _, queries, keys in settings_of(name):
        assert get_mask(name).dense(queries, keys).any(-1).all()


@pytest.mark.parametrize("name", CATALOGUE)
def test_changing_a_hidden_key_changes_no_bit(name: str) -> None:
    """Every key in turn gets another key and value, a huge one; only queries that see it may notice, and they do."""
    mask = get_mask(name)
    for what, queries, keys in settings_of(name):
        q, k, v = inputs(queries, keys)
        before = realise(mask, queries, keys, q.dtype)(q, k, v)
        seen = reachable(mask, queries, keys).expand(len(q), -1, -1)
        for key in range(keys.length):
            other_k, other_v = k.clone(), v.clone()
            other_k[:, :, key] += 3
            other_v[:, :, key] = 1e4
            same = (realise(mask, queries, keys, q.dtype)(q, other_k, other_v) == before).all(-1).all(1)
            assert torch.equal(same, ~seen[:, :, key]), (what, key)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_hidden_key_gets_no_gradient(name: str) -> None:
    """Exactly zero, not nearly; and more than zero where it is visible."""
    mask = get_mask(name)
    for what, queries, keys in settings_of(name):
        q, k, v = (x.requires_grad_() for x in inputs(queries, keys))
        out = realise(mask, queries, keys, q.dtype)(q, k, v)
        seen = reachable(mask, queries, keys).expand(len(q), -1, -1)
        for query in range(queries.length):
            to_k, to_v = torch.autograd.grad(out[:, :, query].square().sum(), (k, v), retain_graph=True)
            touched = ((to_k != 0) | (to_v != 0)).any(-1).any(1)
            assert torch.equal(touched, seen[:, query]), (what, query)


def tower(x: Tensor, bias: Tensor, layers: int = 3) -> list[Tensor]:
    """Hidden states, before and after each layer, of a random transformer of attention alone; bias (b, 1, N, N)."""
    source, states = torch.Generator().manual_seed(1), [x]
    for _ in range(layers):
        weights = torch.randn(3, x.shape[-1], x.shape[-1], generator=source, dtype=x.dtype) / math.sqrt(x.shape[-1])
        q, k, v = (rearrange(states[-1] @ w, "b n (h d) -> b h n d", h=HEADS) for w in weights)
        attention = (q @ k.mT / math.sqrt(q.shape[-1]) + bias).softmax(-1) @ v
        states.append(states[-1] + rearrange(attention, "b h n d -> b n (h d)"))
    return states


SELF = [name for name in CATALOGUE if example(name)[0] is example(name)[1]]
WINDOWS = ("sliding_window", "block_window")  # their reach grows with every layer
TRANSITIVE = [name for name in SELF if name not in WINDOWS]


@pytest.mark.parametrize("name", SELF)
def test_gradient_flows_through_layers_only_along_visible_pairs(name: str) -> None:
    """Three layers: a position depends on another just where a path of at most three visible pairs leads to it."""
    for what, layout, _ in list(settings_of(name))[:3]:
        mask = get_mask(name)
        x = torch.randn(layout.batch, layout.length, HEADS * WIDTH, dtype=torch.float64, requires_grad=True)
        out = tower(x, mask.bias(layout, layout).double())[-1]
        hop = (reachable(mask, layout, layout) | torch.eye(layout.length, dtype=torch.bool)).double()
        paths = (hop @ hop @ hop) > 0
        for position in range(layout.length):
            (grad,) = torch.autograd.grad(out[:, position].sum(), x, retain_graph=True)
            assert torch.equal((grad != 0).any(-1), paths[:, position]), (what, position)


@pytest.mark.parametrize("name", TRANSITIVE)
def test_depth_reaches_no_further_than_one_layer(name: str) -> None:
    """What is hidden in one layer stays hidden in any number, as in skip_causal, whose noisy blocks never meet."""
    for what, layout, _ in list(settings_of(name))[:3]:
        hop = reachable(get_mask(name), layout, layout)
        assert torch.equal((hop.double() @ hop.double()) > 0, hop), what


# Law 2: one truth.


def by_hand(q: Tensor, k: Tensor, v: Tensor, mask: Mask, queries: Layout, keys: Layout) -> Tensor:
    """Attention in float64 whose weights come from the predicate, asked for one pair at a time through `mask_mod`."""
    mod, zero = mask.mask_mod(queries, keys), torch.tensor(0)
    pairs = torch.tensor(
        [
            [[bool(mod(torch.tensor(b), zero, torch.tensor(i), torch.tensor(j))) for j in range(keys.length)]
             for i in range(queries.length)]
            for b in range(len(q))
        ]
    )  # fmt: skip
    together = (queries.document[:, :, None] == keys.document[:, None]).expand_as(pairs)
    weights = torch.where(pairs, 1.0, mask.leak) * together
    scores = (q.double() @ k.double().mT / math.sqrt(WIDTH)).exp() * weights[:, None]
    return (scores / scores.sum(-1, keepdim=True)) @ v.double()


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_attention_call_agrees_with_the_predicate(name: str) -> None:
    """Whatever path it takes: no mask, SDPA's causal one, a boolean or a bias."""
    for what, queries, keys in settings_of(name):
        q, k, v = inputs(queries, keys)
        expected = by_hand(q, k, v, get_mask(name), queries, keys)
        assert torch.allclose(realise(get_mask(name), queries, keys, q.dtype)(q, k, v).double(), expected, atol=2e-6), (
            what
        )


def flex(q: Tensor, k: Tensor, v: Tensor, mask: Mask, queries: Layout, keys: Layout, compiled: bool = False) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    call = torch.compile(flex_attention) if compiled else flex_attention
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        return call(q, k, v, block_mask=mask.block_mask(queries, keys))


def dense(q: Tensor, k: Tensor, v: Tensor, mask: Mask, queries: Layout, keys: Layout) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.dense(queries, keys))


@pytest.mark.parametrize("name", CATALOGUE)
def test_flex_attention_agrees_with_the_dense_mask(name: str) -> None:
    """Over rows that differ, packed and ragged at once. Forward alone: torch 2.14 has no backward of it on a CPU."""
    mask, (_, queries, keys) = get_mask(name), list(settings_of(name))[1]
    rows = pad(keys, torch.tensor([keys.length, 1, keys.length - 4]))
    queries = rows if queries is keys else queries
    q, k, v = inputs(queries, rows)
    torch.testing.assert_close(flex(q, k, v, mask, queries, rows), dense(q, k, v, mask, queries, rows))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_block_mask_keeps_just_the_blocks_that_hold_a_visible_pair(name: str) -> None:
    """FlexAttention works in blocks of 128 positions and skips the others."""
    for what, queries, keys in list(settings_of(name, samples=30))[:3]:
        visible = get_mask(name).dense(queries, keys).float()
        ends = (0, -visible.shape[-1] % 128, 0, -visible.shape[-2] % 128)
        blocks = F.max_pool2d(F.pad(visible, ends), 128)
        assert torch.equal(get_mask(name).block_mask(queries, keys).to_dense() > 0, blocks > 0), what


def test_flex_attention_skips_what_lies_in_other_documents() -> None:
    row = pack([grid_layout((1, 1, 128), block_size=32) for _ in range(4)])
    assert get_mask("block_causal").block_mask(row, row).sparsity() == 75.0


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile on a CPU needs a C++ compiler")
def test_compiled_flex_attention_agrees_with_the_dense_mask() -> None:
    grid = grid_layout((1, 1, 65), block_size=8)
    clean_rows, noisy_rows = (pad(copy, torch.tensor([65, 42])) for copy in (clean(grid), noisy(grid)))
    layout, mask = prefix(1) + clean_rows + noisy_rows, get_mask("skip_causal")
    q, k, v = inputs(layout, layout)
    expected = dense(q, k, v, mask, layout, layout)
    torch.testing.assert_close(flex(q, k, v, mask, layout, layout, compiled=True), expected)


# Law 3's ground: an `obstacle` means just this.


def kept_states_never_change(mask: Mask, layout: Layout, step: Tensor) -> bool:
    """Run a tower again and again, as positions become final; all that is not final yet is different noise every time.

    True when the hidden states that a cache would hold, of clean final positions, are the same bits in every run.
    """
    source = torch.Generator().manual_seed(2)
    final = torch.randn(1, layout.length, HEADS * WIDTH, generator=source, dtype=torch.float64)
    bias, stored = mask.bias(layout, layout).double(), layout.role != Role.NOISY

    def run(now: int) -> list[Tensor]:
        noise = 5 * torch.randn(final.shape, generator=source, dtype=torch.float64)
        ready = (stored & (step <= now))[..., None]
        return tower(torch.where(ready, final, noise), bias)

    end = run(int(step.max()))
    return all(
        torch.equal(a[stored & (step <= now)], b[stored & (step <= now)])
        for now in step.unique().tolist()
        for a, b in zip(run(now), end, strict=True)
    )


@pytest.mark.parametrize("clock", ["rank", "block", "frame", "segment"])
@pytest.mark.parametrize("name", SELF)
def test_cacheable_means_that_what_is_kept_never_changes(name: str, clock: str) -> None:
    layout = example(name)[0]
    step = getattr(layout, clock)
    assert (get_mask(name).obstacle(layout, step) is None) == kept_states_never_change(get_mask(name), layout, step)

"""The machinery around a predicate: composition, leaks, SDPA's fast paths, and what may be decoded with a cache."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role, clean, grid_layout, noisy, pack, pad, prefix
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask

PLAIN = [name for name in CATALOGUE if not get_mask(name).leak]


def ragged(name: str) -> tuple[Layout, Layout]:
    """Three rows of the example, of which two are shorter."""
    queries, keys = example(name)
    lengths = torch.tensor([keys.length, 1, keys.length - 3])
    rows = pad(keys, lengths)
    return (rows if queries is keys else queries), rows


@pytest.mark.parametrize("name", CATALOGUE)
def test_padding_sees_itself_alone_and_nobody_sees_it(name: str) -> None:
    queries, keys = ragged(name)
    visible = get_mask(name).dense(queries, keys)[:, 0]
    unpadded = get_mask(name).dense(*example(name))[0, 0]
    for row, length in enumerate((keys.length, 1, keys.length - 3)):
        real = slice(0, length) if queries is keys else slice(None)
        assert torch.equal(visible[row, real, :length], unpadded[real, :length])
        assert not visible[row, real, length:].any()
        if queries is keys:
            assert torch.equal(visible[row, length:], torch.eye(keys.length, dtype=torch.bool)[length:])


def test_padded_copies_stay_apart() -> None:
    """Block diffusion pads the clean and the noisy copy each by itself, so that twins share a negative document."""
    grid = pad(grid_layout((1, 1, 7), block_size=3), torch.tensor([7, 2]))
    row = prefix(1) + clean(grid) + noisy(grid)
    visible = get_mask("skip_causal").dense(row, row)[1, 0]
    padding = row.document[1] < 0
    assert torch.equal(visible[padding], torch.eye(row.length, dtype=torch.bool)[padding])
    assert torch.equal(visible[:, padding], torch.eye(row.length, dtype=torch.bool)[:, padding])


def test_dense_masks_of_shared_layouts_are_built_once() -> None:
    mask, calls = get_mask("causal"), []

    def counted(q: Layout, k: Layout) -> Tensor:
        calls.append(1)
        return mask.sees(q, k)

    grid, spy = grid_layout((1, 1, 9)), Mask("spy", counted)
    assert spy.dense(grid, grid) is spy.dense(grid_layout((1, 1, 9)), grid)
    assert spy.fast_path(grid, grid) == "causal"
    assert len(calls) == 1


# Composition.


@settings(deadline=None, derandomize=True, max_examples=30)
@given(names=st.tuples(*[st.sampled_from(PLAIN)] * 3), layout=st.sampled_from(PLAIN))
def test_masks_compose_as_sets(names: tuple[str, str, str], layout: str) -> None:
    a, b, c = (get_mask(name) for name in names)
    queries, keys = ragged(layout)
    assert torch.equal((a & b).dense(queries, keys), a.dense(queries, keys) & b.dense(queries, keys))
    assert torch.equal((a | b).dense(queries, keys), a.dense(queries, keys) | b.dense(queries, keys))
    assert torch.equal((a & (b | c)).dense(queries, keys), ((a & b) | (a & c)).dense(queries, keys))


def test_a_composed_mask_tells_its_parts_and_stays_inside_documents() -> None:
    both = get_mask("causal") | get_mask("frame_local")
    assert both.name == "causal | frame_local"
    assert "Vaswani" in both.source
    assert "TimeSformer" in both.source
    row = pack([grid_layout((1, 1, 2)), grid_layout((1, 1, 3))])
    assert torch.equal(both.dense(row, row)[0, 0], torch.block_diag(torch.ones(2, 2), torch.ones(3, 3)).bool())


@pytest.mark.parametrize("joined", [lambda a, b: a & b, lambda a, b: a | b, lambda a, b: b & a])
def test_a_leaking_mask_does_not_compose(joined) -> None:
    with pytest.raises(UserError, match="a mask that leaks has no plain yes or no"):
        joined(get_mask("soft"), get_mask("causal"))


# Leaks.


@pytest.mark.parametrize("leak", [0.5, 0.01])
def test_a_leak_is_the_share_of_its_weight_that_a_hidden_key_keeps(leak: float) -> None:
    row = pack([grid_layout((1, 1, 4)), grid_layout((1, 1, 2))])
    weights = get_mask(f"soft({leak})").bias(row, row).double().exp()[0, 0]
    expected = torch.full((4, 4), leak).tril(-1).T + torch.ones(4, 4).tril()
    assert torch.allclose(weights[:4, :4], expected.double())
    assert (weights[:4, 4:] == 0).all()
    assert get_mask(f"soft({leak})").fast_path(grid_layout((1, 1, 4)), grid_layout((1, 1, 4))) is None


@pytest.mark.parametrize("name", PLAIN)
def test_without_a_leak_the_bias_is_the_mask(name: str) -> None:
    queries, keys = ragged(name)
    bias, visible = get_mask(name).bias(queries, keys), get_mask(name).dense(queries, keys)
    assert torch.equal(bias == 0, visible)
    assert torch.equal(bias == -math.inf, ~visible)


@pytest.mark.parametrize("leak", [-0.1, 1.0, math.nan])
def test_a_leak_outside_its_range_is_refused(leak: float) -> None:
    with pytest.raises(UserError, match="a leak is a share from 0"):
        Mask("mine", lambda q, k: k.rank <= q.rank, leak=leak)


# SDPA's fast paths.


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_fast_path_is_never_claimed_wrongly(name: str) -> None:
    mask, (queries, keys) = get_mask(name), example(name)
    layouts = [(queries, keys), (pack([queries, queries]), pack([keys, keys]))]
    pairs = [
        (q.slice(a, b), k.slice(c, d))
        for q, k in layouts
        for a, b in ((0, 3), (2, 3), (0, None))
        for c, d in ((0, 3), (0, None))
    ]
    for q, k in pairs:
        path, weights = mask.fast_path(q, k), mask.bias(q, k)[0, 0].exp()
        claimed = {"full": torch.ones_like(weights), "causal": torch.ones_like(weights).tril()}
        if path is not None:
            assert torch.equal(weights, claimed[path])
            assert path == "full" or q.length == k.length
    assert mask.fast_path(*ragged(name)) is None


@pytest.mark.parametrize(
    ("name", "layout", "path"),
    [
        ("bidirectional", prefix(2) + grid_layout((1, 2, 2)), "full"),
        ("causal", prefix(2) + grid_layout((1, 2, 2)), "causal"),
        ("prefix", prefix(2) + grid_layout((1, 2, 2)), None),
        ("prefix", prefix(1) + grid_layout((1, 2, 2)), "causal"),
        ("block_causal", grid_layout((1, 1, 6), block_size=6), "full"),
        ("block_causal", grid_layout((1, 1, 6), block_size=2), None),
        ("skip_causal", noisy(grid_layout((1, 1, 6), block_size=6)), "full"),
        ("frame_wise", grid_layout((1, 3, 3)), "full"),
        ("sliding_window(6)", grid_layout((1, 1, 6)), "causal"),
        ("sliding_window(5)", grid_layout((1, 1, 6)), None),
        ("bidirectional", pack([grid_layout((1, 1, 3)), grid_layout((1, 1, 3))]), None),
    ],
)
def test_a_fast_path_is_taken_where_the_mask_allows(name: str, layout: Layout, path: str | None) -> None:
    assert get_mask(name).fast_path(layout, layout) == path


def test_the_newest_query_against_a_cache_needs_no_mask() -> None:
    grid = grid_layout((1, 1, 6))
    assert get_mask("causal").fast_path(grid.slice(5), grid) == "full"
    assert get_mask("causal").fast_path(grid.slice(4), grid) is None


# Cacheability.


def video() -> Layout:
    return prefix(2) + grid_layout((3, 2, 2), block_size=4)


TWO_STREAMS = prefix(1) + clean(grid_layout((1, 1, 7), block_size=3)) + noisy(grid_layout((1, 1, 7), block_size=3))


@pytest.mark.parametrize(
    ("name", "layout", "clock", "answer"),
    [
        ("causal", video(), "rank", True),
        ("causal", grid_layout((1, 1, 6)).but(rank=torch.tensor([[4, 0, 2, 5, 1, 3]])), "rank", True),
        ("bidirectional", video(), "rank", False),
        ("bidirectional", video(), "once", True),
        ("block_causal", video(), "block", True),
        ("block_causal", video(), "rank", False),
        ("frame_wise", video(), "frame", True),
        ("frame_wise", video(), "rank", False),
        ("frame_local", video(), "frame", True),
        ("sliding_window", video(), "rank", True),
        ("stride_aware", video(), "rank", True),
        ("prefix", video(), "rank", True),
        ("skip_causal", TWO_STREAMS, "block", True),
        ("skip_causal", TWO_STREAMS, "rank", False),
        ("any_order", TWO_STREAMS, "rank", True),
        ("causal", TWO_STREAMS, "rank", False),  # clean would see the noisy copy of its own rank
        ("permuted", grid_layout((1, 1, 6)), "rank", False),
        ("segment", example("segment")[0], "segment", True),
        ("segment", example("segment")[0], "rank", False),
        ("label_independent", example("label_independent")[0], "segment", True),
        ("label_independent", example("label_independent")[0], "rank", True),
        ("condition_isolated", example("condition_isolated")[0], "segment", False),  # the text sees noisy positions
        ("soft", video(), "rank", False),
    ],
)
def test_what_can_be_cached_is_derived_from_predicate_and_clock(
    name: str, layout: Layout, clock: str, answer: bool
) -> None:
    """A prefix is final before anything else, whatever its own ranks are."""
    step = torch.zeros_like(layout.rank) if clock == "once" else getattr(layout, clock)
    step = torch.where(layout.role == Role.PREFIX, step.min(), step) if name != "segment" else step
    assert (get_mask(name).obstacle(layout, step) is None) is answer
    assert (get_mask(name).obstacle(layout, step[0]) is None) is answer


def test_the_clock_may_differ_by_row_and_so_may_the_layout() -> None:
    grid = grid_layout((1, 1, 4))
    forward, backward = torch.arange(4), torch.arange(4).flip(0)
    assert get_mask("causal").obstacle(grid, torch.stack([forward, forward])) is None
    assert get_mask("causal").obstacle(grid, torch.stack([forward, backward])) is not None
    rows = pad(grid, torch.tensor([4, 1]))
    assert get_mask("causal").obstacle(rows, forward) is None
    assert get_mask("bidirectional").obstacle(rows, forward) is not None
    assert get_mask("bidirectional").obstacle(pad(grid, torch.tensor([1, 1])), forward) is None


@pytest.mark.parametrize(
    ("name", "layout", "reason"),
    [
        ("bidirectional", grid_layout((1, 1, 4)), r"generated later \(query 0 sees key 1\)"),
        ("bidirectional", TWO_STREAMS, "corrupted one, whose input is not final"),
        ("soft", grid_layout((1, 1, 4)), r"generated later \(query 0 sees key 1, through its leak\)"),
    ],
)
def test_a_refusal_says_why(name: str, layout: Layout, reason: str) -> None:
    with pytest.raises(UserError, match=f"mask '{name}.*' cannot be decoded with a cache: .*{reason}"):
        get_mask(name).require_cacheable(layout, layout.rank)
    get_mask("skip_causal").require_cacheable(TWO_STREAMS, TWO_STREAMS.block)

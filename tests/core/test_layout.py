"""Layouts: what each constructor puts into the fields, and that combinators keep every field of every position."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role, blocks, clean, grid_layout, noisy, pack, pad, prefix

FIELDS = [field.name for field in fields(Layout)]


def same(a: Layout, b: Layout) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def numbered(length: int, batch: int = 1, start: int = 0) -> Layout:
    """Every field of every position holds its own number, so that a mix-up shows."""
    count = torch.arange(start, start + batch * length * 10).view(batch, length, 10)
    return Layout(count[..., :3], *(count[..., 3 + i] for i in range(7)))


@settings(deadline=None, derandomize=True)
@given(length=st.integers(1, 60), data=st.data())
def test_all_blocks_but_the_first_are_whole(length: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, length))
    block = blocks(length, size)
    counts = torch.bincount(block)
    assert (block.diff() >= 0).all()
    assert counts.sum() == length
    assert (counts[1:] == size).all()
    assert counts[0] == (length % size or size)


def test_the_remainder_comes_first() -> None:
    assert blocks(7, 3).tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert blocks(6, 3).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("size", [0, -1, 8])
def test_a_block_size_that_fits_no_grid_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"block_size {size} must lie between 1 and the 7 positions"):
        grid_layout((1, 1, 7), block_size=size)


def test_grid_runs_in_raster_order() -> None:
    layout = grid_layout((2, 3, 4), block_size=5)
    places = [[t, h, w] for t in range(2) for h in range(3) for w in range(4)]
    assert layout.position[0].tolist() == places
    assert layout.rank[0].tolist() == list(range(24))
    assert layout.frame[0].tolist() == [0] * 12 + [1] * 12
    assert layout.block[0].tolist() == [0] * 4 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    assert (layout.role == Role.CLEAN).all()


def test_tokens_are_blocks_of_their_own_by_default() -> None:
    assert torch.equal(grid_layout((1, 2, 3)).block, grid_layout((1, 2, 3)).rank)
    assert torch.equal(grid_layout((1, 2, 3), block_size=1).block, grid_layout((1, 2, 3)).rank)


def test_a_prefix_comes_before_everything() -> None:
    layout = prefix(3)
    assert layout.rank[0].tolist() == [-3, -2, -1]
    assert (layout.block == -1).all()
    assert (layout.frame == -1).all()
    assert (layout.role == Role.PREFIX).all()
    assert (layout.position == 0).all()


def test_clean_and_noisy_copies_differ_in_role_alone() -> None:
    layout = grid_layout((2, 2, 2), block_size=3)
    assert (noisy(layout).role == Role.NOISY).all()
    assert same(clean(noisy(layout)), clean(layout))
    assert same(noisy(layout).but(role=Role.CLEAN), layout)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_adding_puts_positions_after_each_other(first: int, second: int) -> None:
    a, b = numbered(4, first), numbered(5, second, start=1000)
    both, batch = a + b, max(first, second)
    assert (both.batch, both.length) == (batch, 9)
    assert same(both.slice(0, 4), a.expand(batch))
    assert same(both.slice(4), b.expand(batch))


def test_take_moves_every_field_along() -> None:
    layout, order = numbered(5, 2), torch.tensor([3, 0, 4])
    taken = layout.take(order)
    for name in FIELDS:
        assert torch.equal(getattr(taken, name), getattr(layout, name)[:, order])


def test_take_with_an_order_for_each_row() -> None:
    order = torch.tensor([[3, 0, 4], [1, 1, 2]])
    for layout in (numbered(5), numbered(5, 2)):
        taken = layout.take(order)
        for row in range(2):
            single = layout.expand(2).map(lambda field, row=row: field[row : row + 1])
            assert same(taken.map(lambda field, row=row: field[row : row + 1]), single.take(order[row]))


def test_packed_samples_become_documents_and_stay_as_they_were() -> None:
    samples = [
        numbered(3).but(document=0),
        numbered(1, start=200).but(document=0),
        numbered(4, start=400).but(document=0),
    ]
    row = pack(samples)
    assert row.document[0].tolist() == [0] * 3 + [1] + [2] * 4
    assert same(row.slice(4).but(document=0), samples[2])
    with pytest.raises(UserError, match="at least one"):
        pack([])


def test_packing_keeps_the_documents_and_the_padding_of_its_parts() -> None:
    grid = grid_layout((1, 1, 3))
    nested = pack([pack([grid, grid]), grid, pack([grid, grid])])
    assert nested.document[0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    ragged = pack([pad(grid, torch.tensor([1, 3])), pad(grid, torch.tensor([2, 0]))])
    padding = torch.tensor([[0, 1, 1, 0, 0, 1], [0, 0, 0, 1, 1, 1]]).bool()
    assert torch.equal(ragged.document < 0, padding)
    assert ragged.document[0, [0, 3, 4]].tolist() == [0, 1, 1]
    for row in range(2):
        assert len(ragged.document[row][padding[row]].unique()) == 3


def test_repeat_stacks_rows_and_leaves_a_shared_layout_shared() -> None:
    ragged = pad(grid_layout((1, 1, 4)), torch.tensor([4, 2]))
    assert same(ragged.repeat(2), ragged.take(torch.arange(4)).map(lambda field: torch.cat([field, field])))
    assert grid_layout((1, 1, 4)).repeat(2) is grid_layout((1, 1, 4))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(start=st.integers(0, 3), lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_every_padding_position_is_a_document_of_its_own(start: int, lengths: list[int]) -> None:
    layout = prefix(start) + grid_layout((1, 1, 5)) if start else grid_layout((1, 1, 5))
    ragged = pad(layout, torch.tensor(lengths), start)
    for row, length in enumerate(lengths):
        real, padding = ragged.document[row, : start + length], ragged.document[row, start + length :]
        assert (real == 0).all()
        assert (padding < 0).all()
        assert len(padding.unique()) == len(padding)
    assert same(ragged.but(document=0), layout.expand(len(lengths)).but(document=0))


def test_no_lengths_are_no_padding() -> None:
    assert pad(grid_layout((1, 1, 4)), None) is grid_layout((1, 1, 4))


def test_shared_layouts_built_alike_are_one_object() -> None:
    """What is derived from them (dense masks, rotary tables) is cached by identity."""

    def build() -> Layout:
        grid = grid_layout((1, 3, 3), block_size=2)
        return (prefix(1) + clean(grid) + noisy(grid)).slice(2, 7)

    assert build() is build()


def test_a_layout_already_on_the_device_is_itself() -> None:
    layout = grid_layout((1, 1, 3))
    assert layout.to(torch.device("cpu")) is layout


def test_roles_are_plain_integers() -> None:
    """An enum member compared with a tensor becomes False where FlexAttention traces a predicate (torch 2.14)."""
    assert {type(role) for role in (Role.PREFIX, Role.CLEAN, Role.NOISY)} == {int}

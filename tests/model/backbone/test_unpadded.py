"""Rows that share windows are what they were alone: features, losses and gradients."""

import pytest
import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout, clean, grid_layout, noisy, pack, pad, prefix
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.unpadded import windows
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive, BlockDiffusion, Masked, Paradigm
from tests.worlds import condition_of, conditions

LENGTHS = torch.tensor([4, 11, 1, 6, 5, 9])


def ragged() -> Layout:
    return prefix(1) + pad(grid_layout((1, 1, 11), block_size=3), LENGTHS)


def two_copies() -> Layout:
    grid = grid_layout((1, 1, 11), block_size=3)
    return prefix(2) + pad(clean(grid), LENGTHS) + pad(noisy(grid), LENGTHS)


def packed_already() -> Layout:
    """Rows of two documents each, and padding behind."""
    return pad(pack([prefix(1) + grid_layout((1, 1, 3)), grid_layout((1, 1, 8))]), LENGTHS + 1)


LAYOUTS = {"ragged": ragged, "two copies": two_copies, "packed": packed_already}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_real_position_has_a_place_and_no_other_has(name: str) -> None:
    layout = LAYOUTS[name]()
    packed = windows(layout)
    assert packed is not None
    assert packed.layout.batch < layout.batch
    numbers = torch.arange(layout.batch * layout.length).view(layout.batch, -1, 1) + 1
    there = packed.take(numbers.float())
    there[packed.layout.document < 0] = 0
    assert there.count_nonzero() == (layout.document >= 0).sum()
    assert torch.equal(packed.restore(there), torch.where(packed.real[..., None], numbers, 0).float())
    assert torch.equal(packed.row[packed.layout.document >= 0].unique(), torch.arange(layout.batch))


@pytest.mark.parametrize("mask", [name for name in CATALOGUE if example(name)[0] is example(name)[1]])
@pytest.mark.parametrize("name", LAYOUTS)
def test_pairs_that_see_each_other_are_the_same(name: str, mask: str) -> None:
    """For every mask: none reads where in a row a position is."""
    layout, sees = LAYOUTS[name](), get_mask(mask)
    packed = windows(layout)
    assert packed is not None
    here = sees.dense(packed.layout, packed.layout)[:, 0]
    before = sees.dense(layout, layout)[:, 0]
    for row in range(layout.batch):
        places = packed.back[row][packed.real[row]]
        window, place = places[0] // layout.length, places % layout.length
        assert torch.equal(here[window][place][:, place], before[row][packed.real[row]][:, packed.real[row]])
        others = torch.ones(layout.length, dtype=torch.bool)
        others[place] = False
        assert not here[window][place][:, others].any()


def test_full_rows_and_shared_layouts_stay_as_they_are() -> None:
    grid = grid_layout((1, 1, 8))
    assert windows(grid) is None
    assert windows(pad(grid, torch.tensor([8, 8, 8]))) is None
    assert windows(pad(grid, torch.tensor([5, 4]))) is None


def backbone(modulation: str) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(dim=16, depth=2, heads=2, modulation=modulation).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("modulation", ["none", "adaln", "adaln_shared"])
@pytest.mark.parametrize("by_position", [False, True])
def test_a_backbone_computes_the_same(
    modulation: str, by_position: bool, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, mask = two_copies(), get_mask("skip_causal")
    source = torch.Generator().manual_seed(1)
    x = torch.randn(len(LENGTHS), layout.length, 16, generator=source, dtype=torch.float64)
    shape = (len(LENGTHS), *([layout.length] if by_position else []), 16)
    cond = None if modulation == "none" else torch.randn(shape, generator=source, dtype=torch.float64)
    modulated = layout.role == 2
    model = backbone(modulation)
    model.checkpointing = checkpointing
    real, results = (layout.document >= 0)[..., None], []
    for padded in (False, True):
        if padded:
            monkeypatch.setattr("mmgen.model.backbone.transformer.windows", lambda _: None)
        out = torch.where(real, model(x, layout, mask, cond, modulated), 0.0)
        results.append([out, *torch.autograd.grad(out.square().sum(), list(model.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("paradigm", [Autoregressive(), Masked(), BlockDiffusion(4)], ids=lambda p: p.mode)
def test_the_loss_is_that_of_padded_rows(paradigm: Paradigm, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that of each row alone."""
    spec = TokenSpec("categorical", 13, (11, 1, 1), modality="speech", rate=10.0)
    inner = backbone("adaln")
    model = Generator(spec, inner, conditions(spec, inner.dim, 3)).double()
    torch.nn.init.normal_(model.head.project.weight)
    values = torch.randint(13, (len(LENGTHS), 11), generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, -1, 0, 1])

    def losses(rows: Tensor) -> Tensor:
        tokens = Tokens(values[rows], spec.grid, LENGTHS[rows])
        return paradigm.losses(model, tokens, condition_of(model, labels[rows]), Draws(0, rows))[paradigm.mode]

    together, called = losses(torch.arange(len(LENGTHS))), []
    single = torch.cat([losses(torch.tensor([row])) for row in range(len(LENGTHS))])
    monkeypatch.setattr("mmgen.model.backbone.transformer.windows", lambda layout: called.append(layout.batch))
    padded = losses(torch.arange(len(LENGTHS)))
    assert called == [len(LENGTHS)]
    torch.testing.assert_close(together, padded, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(together, single, rtol=1e-10, atol=1e-10)
    grads = (torch.autograd.grad(each.mean(), list(model.backbone.parameters())) for each in (together, padded))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)

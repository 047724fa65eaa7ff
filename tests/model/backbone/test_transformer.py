"""The backbone: options, initialisation, cache, checkpointing, compile."""

import copy

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import clean, grid_layout, noisy, prefix
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.positions import Rotary, rotate
from mmgen.model.backbone.transformer import PRESETS
from tests.model.backbone.test_cached import LAYOUT, POST, backbone, inputs
from tests.model.backbone.test_cached import OPTIONS as BACKBONES

OPTIONS = {**BACKBONES, "post": POST}
options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@torch.inference_mode()
def test_positions_that_are_not_stored_leave_no_trace() -> None:
    model, mask, layout = backbone(torch.float64), get_mask("skip_causal"), grid_layout((1, 3, 3), 3)
    x, cond = inputs(torch.float64, length=9)
    cache = model.new_cache(3, 9)
    model(x[:, :3], clean(layout.slice(0, 3)), mask, cond, cache=cache)
    draft = noisy(layout.slice(3, 6))
    first = model(x[:, 3:6], draft, mask, cond, cache=cache, store=0)
    model(-x[:, 3:6], draft, mask, cond, cache=cache, store=0)
    assert cache.length == 3
    torch.testing.assert_close(model(x[:, 3:6], draft, mask, cond, cache=cache, store=0), first, rtol=0, atol=0)


@torch.inference_mode()
def test_only_the_leading_positions_of_a_mixed_pass_are_stored() -> None:
    """The clean block and the next noisy block in one pass equal two passes."""
    model, mask, layout = backbone(torch.float64), get_mask("skip_causal"), grid_layout((1, 3, 3), 3)
    x, cond = inputs(torch.float64, length=9)
    done, draft = clean(layout.slice(0, 3)), noisy(layout.slice(3, 6))
    together, apart = model.new_cache(3, 9), model.new_cache(3, 9)
    mixed = model(x[:, :6], done + draft, mask, cond, cache=together, store=3)
    model(x[:, :3], done, mask, cond, cache=apart)
    torch.testing.assert_close(mixed[:, 3:], model(x[:, 3:6], draft, mask, cond, cache=apart, store=0))
    assert together.length == apart.length == 3


def test_a_full_cache_says_so() -> None:
    model = backbone(torch.float64)
    x, cond = inputs(torch.float64)
    with pytest.raises(UserError, match="holds 4 positions"):
        model(x, LAYOUT, get_mask("causal"), cond, cache=model.new_cache(3, 4))


@options
def test_permuting_inputs_and_layout_together_permutes_outputs(options: dict[str, object]) -> None:
    model, mask, order = (
        backbone(torch.float64, **options),
        get_mask("block_causal"),
        torch.randperm(10, generator=torch.Generator().manual_seed(0)),
    )
    x, cond = inputs(torch.float64)
    straight = model(x, LAYOUT, mask, cond)
    torch.testing.assert_close(model(x[:, order], LAYOUT.take(order), mask, cond), straight[:, order])


@options
def test_checkpointing_changes_neither_output_nor_gradients(options: dict[str, object]) -> None:
    plain = backbone(torch.float64, **options)
    saving = copy.deepcopy(plain)
    saving.checkpointing = True
    x, cond = inputs(torch.float64)
    for model in (plain, saving):
        model(x, LAYOUT, get_mask("causal"), cond).square().sum().backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_compiled_blocks_equal_eager_ones() -> None:
    model = backbone(torch.float64).float()
    x, cond = (t.float() for t in inputs(torch.float64))
    eager = model(x, LAYOUT, get_mask("causal"), cond)
    names = set(model.state_dict())
    for block in model.blocks:
        block.compile(backend="aot_eager")  # the graph without a C++ compiler
    torch.testing.assert_close(model(x, LAYOUT, get_mask("causal"), cond), eager, rtol=1e-5, atol=1e-5)
    assert set(model.state_dict()) == names


def test_a_condition_per_position_modulates_that_position_only() -> None:
    model, mask = backbone(torch.float64), get_mask("document")
    single = LAYOUT.but(document=torch.arange(10)[None])  # nobody sees anybody else
    x, cond = inputs(torch.float64)
    per_position = cond[:, None].repeat(1, 10, 1)
    torch.testing.assert_close(model(x, single, mask, per_position), model(x, single, mask, cond))
    per_position[:, 4] += 1
    before = model(x, single, mask, cond[:, None].repeat(1, 10, 1))
    changed = (model(x, single, mask, per_position) - before).abs().amax((0, 2))
    assert changed[4] > 0 and (changed[torch.arange(10) != 4] == 0).all()


def test_unmodulated_positions_are_plain_residual_blocks() -> None:
    model = backbone(torch.float64)
    bare = backbone(torch.float64, modulation="none")
    bare.load_state_dict({k: v for k, v in model.state_dict().items() if "adaln" not in k})
    x, cond = inputs(torch.float64)
    nobody = torch.zeros(1, 10, dtype=torch.bool)
    torch.testing.assert_close(
        model(x, LAYOUT, get_mask("causal"), cond, modulated=nobody), bare(x, LAYOUT, get_mask("causal"))
    )


def test_modulated_blocks_start_as_identity_and_residual_streams_keep_their_size() -> None:
    torch.manual_seed(0)
    x, cond = torch.randn(2, 10, 64), torch.randn(2, 64)
    modulated = Transformer(dim=64, depth=6, heads=4, final_norm=False)
    torch.testing.assert_close(modulated(x, LAYOUT, get_mask("causal"), cond), x)
    deep = Transformer(dim=64, depth=24, heads=4, modulation="none", final_norm=False)
    assert deep(x, LAYOUT, get_mask("causal")).std() < 2 * x.std()


def test_presets_have_the_sizes_they_claim() -> None:
    with torch.device("meta"):
        millions = {size: sum(p.numel() for p in Transformer(size).parameters()) / 1e6 for size in PRESETS}
    for size, low, high in [
        ("tiny", 0.8, 1.5),
        ("small", 15, 25),
        ("base", 100, 150),
        ("large", 400, 500),
        ("xl", 600, 720),
    ]:
        assert low < millions[size] < high, (size, millions[size])


def test_unknown_size_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        Transformer("tinny")
    with pytest.raises(UserError, match="must divide"):
        Transformer(dim=30, heads=4)


def test_rotary_scores_depend_on_differences_per_axis() -> None:
    rotary, layout = Rotary(16, (2, 3, 3)), grid_layout((3, 4, 4))
    source = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 16, generator=source).double().expand(1, 1, 48, 16) for _ in range(2))
    tables = rotary.tables(layout, torch.float64)
    scores = (rotate(q, *tables) @ rotate(k, *tables).mT)[0, 0]
    difference = layout.position[0, :, None] - layout.position[0, None]
    keys = ((difference[..., 0] + 9) * 20 + difference[..., 1] + 9) * 20 + difference[..., 2] + 9
    for value in keys.unique():
        same = scores[keys == value]
        torch.testing.assert_close(same, same[:1].expand_as(same))
    torch.testing.assert_close(rotate(q, *tables).norm(dim=-1), q.norm(dim=-1))  # a rotation keeps lengths


def test_rotary_prefix_is_identity_or_vanishes() -> None:
    layout = prefix(2) + grid_layout((1, 2, 2))
    x = torch.ones(1, 1, 6, 8, dtype=torch.float64)
    unrotated = rotate(x, *Rotary(8, (0, 1, 1)).tables(layout, torch.float64))
    gone = rotate(x, *Rotary(8, (0, 1, 1), prefix="zero").tables(layout, torch.float64))
    assert torch.equal(unrotated[:, :, :2], x[:, :, :2]) and (gone[:, :, :2] == 0).all()
    assert torch.equal(unrotated[:, :, 2:], gone[:, :, 2:])

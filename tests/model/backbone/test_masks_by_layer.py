"""Masks that repeat over the blocks: cached, packed and compiled passes agree, and what reaches what is their chain."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, prefix
from mmgen.core.mask import LayeredMask, Mask
from mmgen.core.masks import block_window, get_mask
from mmgen.core.tokens import Tokens
from mmgen.model.backbone import Compiled, Packed, compile_passes, prepare
from mmgen.paradigms import Autoregressive, Request, SampleOptions
from tests.model.backbone.test_packed import backbone
from tests.worlds import draws, generator

ROW = prefix(1) + grid_layout((3, 1, 3), 3)
FACTORISED = ["frame_local", "temporal_causal"]


def given(positions: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    return (torch.randn(2, *shape, 32, generator=source).double() for shape in ((positions,), ()))  # type: ignore[return-value]


@pytest.mark.parametrize("ways", ["called", "packed", "compiled"])
@pytest.mark.parametrize("follows", [False, True])
@torch.no_grad()
def test_cached_frames_equal_the_whole(ways: str, follows: bool) -> None:
    model, mask, (x, cond) = backbone(torch.float64, depth=3), get_mask(FACTORISED), given()
    if ways == "compiled":
        compile_passes(model, "eager")
    run, cache, pieces = model if ways == "called" else prepare(model), model.new_cache(2, 10), []
    assert isinstance(run, {"called": type(model), "packed": Packed, "compiled": Compiled}[ways])
    if follows:
        run.follow(mask, ROW)
    for begin, end in [(0, 1), (1, 4), (4, 7), (7, 10)]:
        pieces.append(run(x[:, begin:end], ROW.slice(begin, end), mask, cond, cache=cache))
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(x, ROW, mask, cond), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_reaches_a_position_is_the_chain_of_the_masks(depth: int) -> None:
    model, mask, (x, cond) = backbone(torch.float64, depth=depth), get_mask(FACTORISED), given()
    x.requires_grad_()
    out = model(x, ROW, mask, cond)
    reached = torch.stack(
        [torch.autograd.grad(out[0, i].sum(), x, retain_graph=True)[0][0].abs().amax(-1) > 0 for i in range(10)]
    )
    chain = torch.eye(10, dtype=torch.bool)
    for layer in range(depth):
        chain = (mask.layers[layer % 2].dense(ROW, ROW)[0, 0].float() @ chain.float() > 0) | chain
    assert torch.equal(reached, chain)
    assert not (chain & ~mask.dense(ROW, ROW)[0, 0]).any() or depth > 1


def test_it_is_one_object_and_says_what_any_block_sees() -> None:
    mask = get_mask(FACTORISED)
    assert mask is get_mask("frame_local, temporal_causal") is get_mask(mask.name) and isinstance(mask, LayeredMask)
    one, other = map(get_mask, FACTORISED)
    assert torch.equal(mask.dense(ROW, ROW), one.dense(ROW, ROW) | other.dense(ROW, ROW))
    assert torch.equal(mask.bias(ROW, ROW), torch.maximum(one.bias(ROW, ROW), other.bias(ROW, ROW)))
    narrow: Mask = block_window(1) & mask
    assert torch.equal(narrow.layers[1].dense(ROW, ROW), (other & block_window(1)).dense(ROW, ROW))


@torch.no_grad()
def test_a_paradigm_takes_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    model, request = generator(), Request(draws(2), conditions={"class": torch.tensor([0, 1])})

    def sample(*masks: str) -> torch.Tensor:
        return list(Autoregressive(list(masks)).sample(model, request, SampleOptions()))[-1].tokens

    ready = sample("causal", "sliding_window(2)")
    with monkeypatch.context() as patch:
        patch.setattr("mmgen.paradigms.guidance.prepare", lambda each: each)
        assert torch.equal(ready, sample("causal", "sliding_window(2)"))
    assert torch.equal(sample("causal", "causal"), sample("causal"))

    def nats(*masks: str) -> torch.Tensor:
        condition = model.conditions(request.conditions)
        return Autoregressive(list(masks)).bound(model, Tokens(ready, (1, 3, 3)), condition, draws(2))

    assert (nats("causal", "sliding_window(2)") - nats("causal")).abs().min() > 1e-6
    with pytest.raises(UserError):
        sample("causal", "bidirectional")

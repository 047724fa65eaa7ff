"""Masks that repeat over the blocks: what reaches what is their chain."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, prefix
from mmgen.core.mask import LayeredMask, Mask
from mmgen.core.masks import block_window, get_mask
from mmgen.core.tokens import Tokens
from mmgen.paradigms import Autoregressive, Request, SampleOptions
from tests.model.backbone.test_cached import backbone, inputs
from tests.worlds import draws, generator

ROW = prefix(1) + grid_layout((3, 1, 3), 3)
FACTORISED = ["frame_local", "temporal_causal"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_reaches_a_position_is_the_chain_of_the_masks(depth: int) -> None:
    model, mask, (x, cond) = backbone(torch.float64, depth=depth), get_mask(FACTORISED), inputs(torch.float64)
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

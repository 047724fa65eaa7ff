"""Recurrent mixers: documents are apart, padding says nothing, masks are causal."""

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import grid_layout, pack, pad, prefix
from mmgen.core.masks import get_mask
from mmgen.model.backbone.mixers import Attention, MixerFactory, Recurrence
from tests.model.backbone.test_cached import backbone, inputs

CAUSAL = get_mask("causal")
MIXERS = [Recurrence], [Recurrence, Attention]
mixers_ = pytest.mark.parametrize("mixers", MIXERS, ids=str)


@mixers_
def test_documents_are_apart_and_padding_says_nothing(mixers: list[MixerFactory]) -> None:
    model = backbone(torch.float64, mixers=mixers, modulation="none")
    one, other = grid_layout((4, 1, 1)), grid_layout((6, 1, 1))
    x = inputs(torch.float64)[0].requires_grad_()
    both = model(x, pack([one, other]), CAUSAL)
    torch.testing.assert_close(both[:, :4], model(x[:, :4], one, CAUSAL), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(both[:, 4:], model(x[:, 4:], other, CAUSAL), rtol=1e-10, atol=1e-10)
    padded = model(x, pad(grid_layout((10, 1, 1)), torch.tensor([10, 4, 7])), CAUSAL)
    (grad,) = torch.autograd.grad(padded[1, :4].sum(), x)
    assert not grad[1, 4:].any() and grad[1, :4].any()
    torch.testing.assert_close(padded[1, :4], model(x[:, :4], one, CAUSAL)[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mask", ["bidirectional", "sliding_window(2)", "frame_wise"])
def test_other_masks_are_refused(mask: str) -> None:
    model, (x, cond) = backbone(torch.float64, mixers=[Recurrence]), inputs(torch.float64)
    with pytest.raises(UserError, match="does not suit a recurrent mixer"):
        model(x, prefix(1) + grid_layout((3, 1, 3), 3), get_mask(mask), cond)

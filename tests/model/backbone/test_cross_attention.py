"""Cross-attention to a memory: nothing at first, the same by pieces, blind to padding."""

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.masks import get_mask
from mmgen.model.backbone import Memory, Transformer, prepare
from tests.model.backbone.test_cached import LAYOUT, backbone, inputs

CAUSAL = get_mask("causal")
REAL = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])


def memory() -> Tensor:
    return torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(3)).double()


def crossed(**changes: object) -> Transformer:
    return backbone(torch.float64, cross_attention=True, **changes)


@pytest.mark.parametrize("real", [None, REAL])
@torch.no_grad()
def test_cached_pieces_equal_the_whole_and_the_memory_is_read_once(real: Tensor | None) -> None:
    model, (x, cond), given = crossed(), inputs(torch.float64), Memory(memory(), real)
    run, cache, pieces, reads = prepare(model), model.new_cache(3, 10), [], []
    for block in model.blocks:
        block.cross.key_value.register_forward_hook(lambda *_: reads.append(1))  # type: ignore[union-attr]
    for begin, end in [(0, 1), (1, 2), (2, 6), (6, 10)]:
        piece = x[:, begin:end], LAYOUT.slice(begin, end), CAUSAL, cond
        pieces.append(run(*piece, cache=cache, memory=given))
    assert len(reads) == model.depth
    whole = model(x, LAYOUT, CAUSAL, cond, memory=given)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-12, atol=1e-12)
    other = run(x[:, :1], LAYOUT.slice(0, 1), CAUSAL, cond, cache=model.new_cache(3, 10), memory=Memory(-given.values))
    assert not torch.allclose(other[:2], pieces[0][:2])


def test_padding_has_no_influence_and_all_else_has() -> None:
    model, (x, cond), values = crossed(checkpointing=True), inputs(torch.float64), memory().requires_grad_()
    model(x, LAYOUT, CAUSAL, cond, memory=Memory(values, REAL)).square().sum().backward()
    assert values.grad is not None and torch.equal(values.grad.abs().amax(-1) > 0, REAL)


@torch.no_grad()
def test_it_starts_as_a_block_without() -> None:
    x, options = inputs(torch.float32)[0], {"dim": 32, "depth": 2, "heads": 4, "modulation": "none"}
    model = Transformer(**options, cross_attention=True).eval()  # type: ignore[arg-type]
    plain = Transformer(**options).eval()  # type: ignore[arg-type]
    plain.load_state_dict({name: each for name, each in model.state_dict().items() if ".cross." not in name})
    crossed = model(x, LAYOUT, CAUSAL, memory=Memory(memory().float()))
    torch.testing.assert_close(crossed, plain(x, LAYOUT, CAUSAL))
    with pytest.raises(UserError, match="a memory is needed"):
        model(x, LAYOUT, CAUSAL)
    with pytest.raises(UserError, match="a memory is not taken"):
        plain(x, LAYOUT, CAUSAL, memory=Memory(memory().float()))

"""Every parameter has a gradient in every step, whatever the batch needs, and none of them is changed by that."""

import pytest
import torch

from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.core.vocabulary import Names
from mmgen.model.backbone import Transformer
from mmgen.paradigms import Autoregressive, MaskedDiffusion, Mixture
from mmgen.training import GeneratorModule
from mmgen.training.generator_module import outside_blocks, zero_loss_over_parameters

SPEC = TokenSpec("categorical", 16, (1, 2, 4))


@pytest.fixture
def module() -> GeneratorModule:
    facts = Facts(SPEC, {"class": Names(("a", "b", "c"))})
    paradigm = Mixture({"ar": Autoregressive(), "diffusion": MaskedDiffusion(self_conditioning=True)})
    return GeneratorModule(facts, 0, Transformer(dim=16, depth=2, heads=2), paradigm)


def batch(number: int) -> dict:
    """Of one sample."""
    sample = torch.tensor([number])
    tokens = Tokens(torch.randint(16, (1, 8), generator=torch.Generator().manual_seed(0)), SPEC.grid)
    return {"tokens": tokens, "label": sample % 3, "sample": sample, "epoch": torch.zeros_like(sample)}


def test_a_batch_of_one_member_leaves_no_parameter_out(module: GeneratorModule) -> None:
    every = (module.losses(batch(sample)) for sample in range(9))
    losses = next(losses for losses in every if losses.keys() == {"ar"})
    torch.cat(list(losses.values())).mean().backward()
    assert [name for name, each in module.named_parameters() if each.grad is None] == []
    assert all(not each.grad.any() for each in module.generator.parts["self_conditioning"].parameters())


def test_what_is_touched_is_all_that_no_block_holds(module: GeneratorModule) -> None:
    zero_loss_over_parameters(outside_blocks(module)).backward()
    touched = {name for name, each in module.named_parameters() if each.grad is not None}
    blocks = {name for name, _ in module.named_parameters() if ".blocks." in name}
    assert touched
    assert touched | blocks == {name for name, _ in module.named_parameters()}
    assert not touched & blocks

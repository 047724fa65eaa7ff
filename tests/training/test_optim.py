import pytest
import torch
from torch import nn

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.tokenizers.quantizers import VQ
from mmgen.training.optim import adamw, decay_groups, warmup_cosine

GENERATOR = Generator(
    TokenSpec("categorical", 16, (1, 2, 2)), Transformer(dim=16, depth=1, heads=2, bias=True), classes=3
)
TOKENIZER = ConvImageTokenizer(VQ(4, dim=4), image_size=8, width=8)


@pytest.mark.parametrize("module", [GENERATOR, TOKENIZER], ids=["generator", "tokenizer"])
def test_each_trainable_parameter_is_in_one_group(module):
    grouped = [id(each) for group in decay_groups(module, 0.1) for each in group["params"]]
    assert sorted(grouped) == sorted(id(each) for each in module.parameters())


@pytest.mark.parametrize("module", [GENERATOR, TOKENIZER], ids=["generator", "tokenizer"])
def test_only_maps_decay(module):
    decayed, spared = ({id(each) for each in group["params"]} for group in decay_groups(module, 0.1))
    names = {id(each): name for name, each in module.named_parameters()}
    told = {names[each] for each in decayed}
    assert all(name.endswith("weight") for name in told)
    assert not [name for name in told if any(word in name for word in ("norm", "table", "prefix", "gain", "mask"))]
    assert all(
        module.get_parameter(names[each]).ndim < 2 or not names[each].endswith(("qkv.weight", "out.weight"))
        for each in spared
    )
    assert [group["weight_decay"] for group in decay_groups(module, 0.1)] == [0.1, 0.0]


def test_frozen_parameters_are_left_out():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in decay_groups(module, 0.1)) == 2


def test_the_schedule_climbs_then_falls_to_nothing():
    factors = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert factors[0] > 0
    assert all(a < b for a, b in zip(factors[:10], factors[1:11], strict=True))
    assert factors[10] == 1
    assert all(a > b for a, b in zip(factors[10:100], factors[11:], strict=True))
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert factors[55] == pytest.approx(0.5)


def test_a_short_run_reaches_the_learning_rate():
    """A warm-up longer than the run is cut to half of it."""
    parts = adamw(nn.Linear(2, 2), 10, 0.5, 0.1, (0.9, 0.99), warmup_steps=1000)
    schedule, rates = parts["lr_scheduler"]["scheduler"], []
    for _ in range(10):
        rates.append(parts["optimizer"].param_groups[0]["lr"])
        parts["optimizer"].step()
        schedule.step()
    assert max(rates) == rates[5] == 0.5
    assert min(rates) > 0


def test_a_run_without_end_is_refused():
    with pytest.raises(UserError, match=r"trainer\.max_steps"):
        adamw(nn.Linear(2, 2), -1, 1e-3, 0.1, (0.9, 0.99), 10)


def test_decay_acts_where_it_should_only():
    """With zero gradients AdamW moves exactly the decayed parameters."""
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Embedding(3, 3))
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = adamw(module, 10, 0.1, 0.5, (0.9, 0.99), 0)["optimizer"]
    for each in module.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    moved = {name for name, value in module.named_parameters() if not value.equal(before[name])}
    assert moved == {"0.weight"}

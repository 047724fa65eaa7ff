from copy import deepcopy

import pytest
import torch
from torch import nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive
from mmgen.tokenizers.quantizers import VQ
from mmgen.training.muon import MuonWithAdamW
from mmgen.training.optim import FusedAdamW, WarmupCosine, parameter_groups, scheduled, warmup_cosine
from tests.training import fits
from tests.worlds import condition_of, conditions

SPEC = TokenSpec("categorical", 16, (1, 2, 2))
GENERATOR = Generator(SPEC, Transformer(dim=16, depth=1, heads=2, bias=True), conditions(SPEC, 16, 3))
TOKENIZER = ConvImageTokenizer(VQ(4, dim=4), image_size=8, width=8)


@pytest.mark.parametrize("module", [GENERATOR, TOKENIZER], ids=["generator", "tokenizer"])
def test_each_trainable_parameter_is_in_one_group(module):
    grouped = [id(each) for group in parameter_groups(module) for each in group["params"]]
    assert sorted(grouped) == sorted(id(each) for each in module.parameters())


@pytest.mark.parametrize("module", [GENERATOR, TOKENIZER], ids=["generator", "tokenizer"])
def test_only_maps_decay(module):
    names = {id(each): name for name, each in module.named_parameters()}
    decayed, spared = set(), set()
    for group in parameter_groups(module):
        (spared if group.get("weight_decay") == 0 else decayed).update(names[id(each)] for each in group["params"])
    assert all(name.endswith("weight") for name in decayed)
    assert not [name for name in decayed if any(word in name for word in ("norm", "table", "prefix", "gain", "mask"))]
    assert all(
        module.get_parameter(name).ndim < 2 or not name.endswith(("qkv.weight", "out.weight")) for name in spared
    )


def test_hidden_matrices_are_those_of_the_blocks():
    (hidden,) = [group["params"] for group in parameter_groups(GENERATOR) if group["hidden"]]
    names = {id(each): name for name, each in GENERATOR.named_parameters()}
    assert {names[id(each)] for each in hidden} == {
        name
        for name, each in GENERATOR.backbone.named_parameters("backbone")
        if ".blocks." in name and each.ndim == 2 and "norm" not in name
    }
    assert not any(group["hidden"] for group in parameter_groups(TOKENIZER))


def test_frozen_parameters_are_left_out():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(module)) == 2


def test_the_schedule_climbs_then_falls_to_nothing():
    factors = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert factors[0] > 0
    assert all(a < b for a, b in zip(factors[:10], factors[1:11], strict=True))
    assert factors[10] == 1
    assert all(a > b for a, b in zip(factors[10:100], factors[11:], strict=True))
    assert factors[100] == pytest.approx(0, abs=1e-12)
    assert factors[55] == pytest.approx(0.5)


def rates(schedule, steps):
    seen = []
    for _ in range(steps):
        seen.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return seen


def cosine(optimizer):
    return WarmupCosine(optimizer, warmup_steps=1000)


def test_a_short_run_reaches_the_learning_rate():
    """A warm-up longer than the run is cut to half of it."""
    _, schedule = scheduled(nn.Linear(2, 2), 10, lambda params: FusedAdamW(params, lr=0.5), cosine)
    seen = rates(schedule, 10)
    assert seen == pytest.approx([0.5 * warmup_cosine(step, 10, 5) for step in range(10)])
    assert max(seen) == seen[5] == 0.5


def test_a_longer_run_goes_on_from_a_shorter_ones_schedule():
    """The end is that of the run that resumes, as its trainer says it."""
    made = {steps: scheduled(nn.Linear(2, 2), steps, FusedAdamW, cosine) for steps in (10, 20)}
    rates(made[10][1], 8)
    for old, new in zip(made[10], made[20], strict=True):
        new.load_state_dict(old.state_dict())
    made[20][0].step()
    made[20][1].step()
    assert made[20][0].param_groups[0]["lr"] == pytest.approx(1e-3 * warmup_cosine(9, 20, 10))


def test_a_schedule_over_a_run_without_end_is_refused():
    with pytest.raises(UserError, match=r"trainer\.max_steps"):
        scheduled(nn.Linear(2, 2), -1, FusedAdamW, WarmupCosine)


def test_what_an_optimizer_refuses_is_one_line():
    with pytest.raises(UserError, match=r"model\.optimizer: Muon .* 2D"):
        scheduled(GENERATOR, 10, torch.optim.Muon, WarmupCosine)
    with pytest.raises(UserError, match="use FusedAdamW"):
        scheduled(TOKENIZER, 10, MuonWithAdamW, WarmupCosine)


@pytest.mark.parametrize("kind", [FusedAdamW, torch.optim.AdamW, torch.optim.SGD])
def test_decay_acts_where_it_should_only(kind):
    """With zero gradients an optimizer moves exactly the decayed parameters, whichever it is."""
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Embedding(3, 3))
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = kind(parameter_groups(module), lr=0.1, weight_decay=0.5)
    for each in module.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    assert {name for name, value in module.named_parameters() if not value.equal(before[name])} == {"0.weight"}


def test_muon_trains_matrices_and_goes_on_from_its_state():
    """Its loss falls, and a copy that takes over the state goes the same way."""
    tokens = torch.arange(12).reshape(3, 4, 1) % 5
    one, other = deepcopy(GENERATOR), deepcopy(GENERATOR)
    first, second = (MuonWithAdamW(parameter_groups(each), lr=0.01, weight_decay=0.0) for each in (one, other))

    def step(module, optimizer):
        optimizer.zero_grad()
        label, draws = torch.zeros(3, dtype=torch.int64), Draws(0, torch.arange(3))
        (losses,) = (
            Autoregressive()
            .losses(module, Tokens(tokens.squeeze(-1), (1, 2, 2)), condition_of(module, label), draws)
            .values()
        )
        losses.mean().backward()
        optimizer.step()
        return losses.mean().item()

    losses = [step(one, first)]
    losses += [step(one, first) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]
    other.load_state_dict(one.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    for _ in range(2):
        assert step(one, first) == step(other, second)


def test_muon_trains_a_run_that_names_it_and_resumes(digits, tokenizer, tmp_path):
    options = [*fits.GENERATOR, *digits, f"--data.tokenizer={tokenizer}", "--data.global_batch_size=4"]
    options += ["--model.optimizer=mmgen.training.muon.MuonWithAdamW", "--model.optimizer.lr=0.01"]
    run = fits.fit(tmp_path / "run", *options, "--trainer.max_steps=2")
    saved = fits.checkpoint(fits.fit(run, *options, "--trainer.max_steps=3", "--ckpt_path=last"))
    (state,) = saved["optimizer_states"]
    kinds = {frozenset(each) for each in state["state"].values()}
    assert kinds == {frozenset({"momentum_buffer"}), frozenset({"step", "exp_avg", "exp_avg_sq"})}
    assert saved["global_step"] == 3

"""A plan says what is measured: operations to one in a hundred, bytes of weights, gradients and optimiser exactly."""

import dataclasses
import json
import math

import pytest
import torch

from mmgen.apps.cli.main import main
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive
from mmgen.tools.plan.check import planned_and_measured
from mmgen.tools.plan.estimate import plan
from mmgen.tools.plan.memory import state_bytes, tensors
from mmgen.tools.plan.recipe import Recipe
from mmgen.tools.plan.setup import Setup
from tests.worlds import conditions

NARROW = [
    "model.backbone.dim=32", "model.backbone.heads=4", "model.backbone.kv_heads=2", "model.backbone.depth=3",
    "model.backbone.dropout=0.0",
]  # fmt: skip
RECIPES = {
    "digits_mixture": ([], "bits:8:1x7x7"),  # three paradigms of different rows
    "digits_acdit": (["model.paradigm.split=4"], "continuous:4:1x4x4"),  # a noise level a position, two copies
    "mocap_mogo": (["model.paradigm.level_depth=2"], "residual:16:24x1x1:3"),  # a stack a level
    "imagenet_maskgit": (["model.backbone.modulation=adaln_shared"], "categorical:64:1x8x8"),
}


def recipe(name: str, *changes: str, spec: str | None = None) -> Recipe:
    more, own = RECIPES[name]
    return Recipe.read(f"experiments/{name}", [*NARROW, *more, *changes], spec or own, classes=3)


@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_is_what_is_measured(name: str) -> None:
    rows = planned_and_measured(recipe(name), "32-true")
    assert rows
    for mode, planned, measured in rows:
        table = {part: (value, measured[part]) for part, value in planned.items()}
        assert table["weights"][0] == table["weights"][1]
        assert table["flops"][0] == pytest.approx(table["flops"][1], rel=0.01), mode
        assert table["saved"][0] == pytest.approx(table["saved"][1], rel=0.08), mode
        # A parameter that this member alone leaves out has neither: in autoregression the mask tokens, and a
        # vector for each of 8 bits that may be hidden
        assert 0 <= table["gradients"][0] - table["gradients"][1] <= 4 * 32 * (1 + 8), mode
        assert table["optimizer"][0] - 2 * table["gradients"][0] >= table["optimizer"][1] - 2 * table["gradients"][1]
    if name == "digits_acdit":  # continuous tokens have no use for their mask token
        return
    spare = 1 if name == "digits_mixture" else 0  # vectors of 8 bits, of no use where tokens are hidden whole
    left_out = (4 * 32 * 8 * spare, 2 * 4 * 32 * 8 * spare + 4 * spare)  # gradients; two moments and a count of steps
    parts = ("gradients", "optimizer")
    assert left_out in [tuple(planned[name] - measured[name] for name in parts) for _, planned, measured in rows]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_bytes_in_bfloat16(precision: str) -> None:
    ((_, planned, measured),) = planned_and_measured(recipe("imagenet_maskgit"), precision)  # type: ignore[arg-type]
    assert all(planned[name] == measured[name] for name in ("weights", "gradients"))
    assert planned["saved"] == pytest.approx(measured["saved"], rel=0.08)


def test_visible_pairs_are_those_of_the_mask() -> None:
    """A causal row of n positions shows (n + 1) / 2n of its pairs; tokens are predicted from the prefix on."""
    spec = TokenSpec("categorical", 64, (1, 8, 8))
    read = recipe("imagenet_maskgit")
    made = plan(dataclasses.replace(read, facts=dataclasses.replace(read.facts, spec=spec)).of_member("", 4), Setup(1))
    assert made.visible == 1.0
    causal = Recipe.read("experiments/imagenet_ar", NARROW, "categorical:64:1x8x8", 3)
    assert plan(causal, Setup(1)).visible == pytest.approx((64 + 1) / 128)


def test_attention_by_the_textbook() -> None:
    """12 L H Q T operations a token and 6 a weight of the blocks (PaLM, appendix B)."""
    made = plan(
        Recipe.read("experiments/imagenet_ar", ["model.backbone.size=small"], "categorical:64:1x16x16", 10), Setup(8)
    )
    assert made.attention_flops == 12 * 8 * 384 * 256
    block = Transformer(size="small", depth=1).blocks[0]
    matrices = sum(each.weight.numel() for each in block.modules() if isinstance(each, torch.nn.Linear))
    adaln = block.adaln.project.weight.numel()
    assert made.linear_flops == pytest.approx(6 * 8 * (matrices - adaln + adaln / 256), rel=1e-12)


def test_shares_of_a_sharded_run_add_up() -> None:
    spec = TokenSpec("categorical", 64, (1, 4, 4))
    generator = Generator(spec, Transformer(dim=32, depth=1, heads=2), conditions(spec, 32, 3))
    held = tensors(generator, {generator.backbone: 5})
    deep = Generator(spec, Transformer(dim=32, depth=5, heads=2), conditions(spec, 32, 3))
    assert sum(each.numel for each in held) == sum(each.numel() for each in deep.parameters())
    whole, half = (state_bytes(held, 0, "32-true", shards, average=True) for shards in (1, 2))
    assert all(whole[name] / 2 <= half[name] <= whole[name] * 0.52 for name in ("weights", "gradients", "average"))


def test_what_does_not_fit_is_said_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [word for change in (*NARROW, "data.global_batch_size=262144") for word in ("--set", change)]
    words = ["plan", "experiments/imagenet_ar", "--spec", "categorical:64:1x16x16", "--device", "rtx4090"]
    assert main([*words, *changes]) == 0
    assert "It does not fit" in capsys.readouterr().out


def test_days_are_tokens_by_speed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "experiments/imagenet_ar", "--gpus", "64", "--tokens", "300e9", "--mfu", "0.5", "--json"]
    assert main([*words, "--classes", "1000", "--strategy", "fsdp", "--spec", "categorical:1024:1x16x16"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["tokens_per_second"] == pytest.approx(64 * 989e12 * 0.5 / made["dense_flops"])
    assert made["days"] == pytest.approx(300e9 / made["tokens_per_second"] / 86400)
    assert made["parameters"]["head"] == 768 * 1024 + 1024
    assert made["memory"]["total"] == pytest.approx(sum(v for k, v in made["memory"].items() if k != "total"))
    whole = state_bytes(*_held("experiments/imagenet_ar"), "bf16-mixed", 1, True)["weights"]
    assert whole / 64 <= made["memory"]["weights"] <= whole / 60


def _held(name: str) -> tuple:
    read = Recipe.read(name, [], "categorical:1024:1x16x16", 1000)
    generator, _ = read.shallow()
    return tensors(generator, {generator.backbone: read.depth}), 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "recipe nowhere does not exist"),
        (["tokenizers/digits_vq"], "trains no generator"),
        (["experiments/together"], "trains several modalities"),
        (["experiments/imagenet_acdit"], "--spec KIND:SIZE:TxHxW"),
        (["experiments/digits_ar", "--spec", "bits:8"], "such as categorical:16384:1x16x16"),
        (["experiments/digits_ar", "--gpus", "7"], "does not divide"),
        (["experiments/digits_ar", "--device", "h1000"], "did you mean 'h100'"),
        (["experiments/digits_ar", "--mfu", "40"], "in (0, 1]"),
        (["experiments/digits_ar", "--set", "model.backbone.dpeth=3"], "dpeth"),
    ],
)
def test_mistakes_end_in_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_members_of_a_mixture_count_by_their_shares() -> None:
    mixed = recipe("digits_mixture", "model.paradigm.weights={ar: 3, masked: 1, block: 2}")
    made = plan(mixed, Setup(1)).dense_flops
    alone = {mode: plan(mixed.of_member(mode, 64), Setup(1)).dense_flops for mode in ("ar", "masked", "block")}
    assert made == pytest.approx((3 * alone["ar"] + alone["masked"] + 2 * alone["block"]) / 6)
    assert not math.isclose(alone["ar"], alone["block"], rel_tol=0.2)
    assert isinstance(mixed.of_member("ar", 64).shallow()[1], Autoregressive)

"""Law: whatever has been done to a module changes samples just as it changes its own `forward`, however passes run."""

import copy
from collections.abc import Callable
from types import MethodType
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmgen.model.backbone import Packed, compile_passes, prepare
from mmgen.model.backbone.block import Block
from mmgen.model.generator import Generator
from mmgen.paradigms import Guidance, Request, SampleOptions
from tests.worlds import PARADIGMS, draws, generator

MODES = "ar", "masked", "block-2"


class Doubled(nn.Module):
    """A wrapper made by hand, which shows nothing of what it wraps."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.inner(x)


class DoubledLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Flipped(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return -weight


def block(model: Generator) -> Block:
    return cast(Block, model.backbone.blocks[1])


def lora(model: Generator, *targets: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(target_modules=list(targets), init_lora_weights=False), model)
    model.double().eval()
    source = torch.Generator().manual_seed(1)
    for name, each in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(each, std=0.3, generator=source)


def wrapped(model: Generator) -> None:
    block(model).mlp.down = Doubled(block(model).mlp.down)  # type: ignore[assignment]


def of_subclass(model: Generator) -> None:
    inner = block(model).mixer.qkv
    other = DoubledLinear(inner.in_features, inner.out_features, bias=False).double()
    other.load_state_dict(inner.state_dict())
    block(model).mixer.qkv = other


def of_other_width(model: Generator) -> None:
    block(model).mlp.up.weight = nn.Parameter(block(model).mlp.up.weight[::2].detach().clone())
    block(model).mlp.up.out_features //= 2
    block(model).mlp.down.weight = nn.Parameter(block(model).mlp.down.weight[:, ::2].detach().clone())


def turn(*given: object) -> Tensor:
    return -2 * cast(Tensor, given[-1])


def turn_far(*given: object) -> Tensor:
    return -50 * cast(Tensor, given[-1])


def turn_input(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[object, ...]:
    return (-2 * given[0], *given[1:])


def replaced(model: Generator) -> None:
    block(model).mlp.forward = MethodType(lambda self, x: -type(self).forward(self, x), block(model).mlp)  # type: ignore[method-assign]


def weight_norm(model: Generator) -> None:
    normed = nn.utils.parametrizations.weight_norm(block(model).mlp.up)
    nn.init.ones_(normed.parametrizations["weight"].original0)  # type: ignore[index, operator]


def quantised(model: Generator) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    model.float()
    block(model).mlp.down.weight.neg_()  # which shows, as rounding to 8 bits hardly does
    quantization.quantize_(block(model), quantization.Int8WeightOnlyConfig(version=2))


WRAPPINGS: dict[str, Callable[[Generator], object]] = {
    "lora of peft": lambda model: lora(model, "qkv", "down"),
    "lora on the head": lambda model: lora(model, "head.project"),
    "lora on the modulation": lambda model: lora(model, "adaln.project"),
    "wrapper": wrapped,
    "wrapper of the head": lambda model: setattr(model.head, "project", Doubled(model.head.project)),
    "subclass": of_subclass,
    "another width": of_other_width,
    "hook on a linear map": lambda model: block(model).mixer.out.register_forward_hook(turn),
    "hook on a norm": lambda model: block(model).norm_mlp.register_forward_pre_hook(turn_input),
    "hook on a norm of heads": lambda model: block(model).mixer.norm_q.register_forward_hook(
        lambda *given: -50 * given[-1]
    ),  # type: ignore[union-attr]
    "hook on the last norm": lambda model: model.backbone.final_norm.register_forward_hook(turn),
    "hook on a mixer": lambda model: block(model).mixer.register_forward_hook(turn),
    "hook before a block": lambda model: block(model).register_forward_pre_hook(turn_input),
    "hook on the backbone": lambda model: model.backbone.register_forward_hook(turn),
    "hook on the head": lambda model: model.head.project.register_forward_hook(turn),
    "parametrisation": lambda model: parametrize.register_parametrization(block(model).mlp.up, "weight", Flipped()),
    "weight norm": weight_norm,
    "spectral norm": lambda model: nn.utils.parametrizations.spectral_norm(block(model).mlp.down).eval(),
    "spectral norm by a hook": lambda model: nn.utils.spectral_norm(block(model).mlp.down).eval(),
    "another forward": replaced,
    "quantised": quantised,
}


def sampled(model: Generator, mode: str) -> Tensor:
    request = Request(draws(4), conditions={"class": torch.tensor([0, 1, 2, 0])})
    return list(PARADIGMS[mode].sample(model, request, SampleOptions(guidance=Guidance(1.5))))[-1].tokens


def touched(wrapping: str) -> Generator:
    model = generator()
    apply(wrapping, model)
    return model


def apply(wrapping: str, model: Generator) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WRAPPINGS[wrapping](model)


def plainly(model: Generator, mode: str, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Samples from calls of the modules alone."""
    with monkeypatch.context() as patch:
        patch.setattr("mmgen.paradigms.guidance.prepare", lambda backbone: backbone)
        patch.setattr("mmgen.paradigms.guidance.prepare_head", lambda head: head)
        return sampled(model, mode)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@torch.no_grad()
def test_samples_follow_what_was_done_to_a_module(wrapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = touched(wrapping)
    expected = {mode: plainly(model, mode, monkeypatch) for mode in MODES}
    for mode in MODES:
        assert torch.equal(sampled(model, mode), expected[mode]), mode
    assert any(not torch.equal(sampled(generator().to(model.backbone.dtype), mode), expected[mode]) for mode in MODES)


@pytest.mark.parametrize("wrapping", ["lora of peft", "hook before a block", "parametrisation"])
@torch.no_grad()
def test_passes_that_were_compiled_before_follow_it_too(wrapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    model = generator()
    compile_passes(model.backbone, "eager")
    before = sampled(model, "ar")
    apply(wrapping, model)
    expected = plainly(model, "ar", monkeypatch)
    assert torch.equal(sampled(model, "ar"), expected) and not torch.equal(before, expected)


@torch.no_grad()
def test_blocks_around_a_wrapped_one_are_packed() -> None:
    model = generator()
    wrapped(model)
    ready = prepare(model.backbone)
    assert isinstance(ready, Packed) and [each is None for each in ready.blocks] == [False, True]


def test_a_copy_is_wrapped_as_well() -> None:
    model = generator()
    lora(model, "qkv")
    with torch.no_grad():
        assert torch.equal(sampled(copy.deepcopy(model), "ar"), sampled(model, "ar"))

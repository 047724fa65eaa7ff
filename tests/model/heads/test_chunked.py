"""Cross-entropy in parts is cross-entropy, and holds few logits at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from mmgen.core.tokens import TokenSpec
from mmgen.model.heads import BitsHead, CategoricalHead, ChoiceHead, ResidualHead, choices
from mmgen.model.heads.chunked import chunked_cross_entropy

Given = tuple[Tensor, Tensor, Tensor, Tensor]


def given(positions: int = 37, groups: int = 3, choices: int = 11, dim: int = 5, dtype=torch.float64) -> Given:
    source = torch.Generator().manual_seed(0)
    shapes = ((positions, dim), (groups * choices, dim), (groups * choices,))
    features, weight, bias = (torch.randn(s, generator=source, dtype=dtype).requires_grad_() for s in shapes)
    return features, weight, bias, torch.randint(choices, (positions, groups), generator=source)


def plain(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    logits = F.linear(features, weight, bias).float().to(torch.promote_types(features.dtype, torch.float32))
    if features.dtype == torch.float64:
        logits = F.linear(features, weight, bias)
    return F.cross_entropy(logits.view(targets.numel(), -1), targets.flatten(), reduction="none").view(targets.shape)


@pytest.mark.parametrize("at_once", [1, 33, 100, 10_000])
@pytest.mark.parametrize("groups", [1, 3])
def test_it_equals_the_loss_of_whole_logits(at_once: int, groups: int) -> None:
    """One position at a time, a few, with a remainder, and all; each position with a slope of its own."""
    *inputs, targets = given(groups=groups)
    upstream = torch.randn(targets.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, whole = chunked_cross_entropy(*inputs, targets, at_once=at_once), plain(*inputs, targets)
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-12)
    grads = (torch.autograd.grad(each, inputs, upstream) for each in (ours, whole))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_autocast_multiplies_in_half_precision_and_adds_in_single() -> None:
    *inputs, targets = given(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours, whole = chunked_cross_entropy(*inputs, targets, at_once=100), plain(*inputs, targets)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, whole, rtol=1e-2, atol=1e-2)
    for one, other in zip(*(torch.autograd.grad(each.sum(), inputs) for each in (ours, whole)), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=3e-2, atol=0.1)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor holds which is made under it."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, Tensor):
                self.count = max(self.count, each.numel())
        return out


def test_no_tensor_holds_more_logits_than_it_may() -> None:
    """In the forward and the backward pass, where the plain loss holds them all."""
    *inputs, targets = given(positions=200, groups=1, choices=300)
    with Largest() as plainly:
        plain(*inputs, targets).sum().backward()
    with Largest() as largest:
        chunked_cross_entropy(*inputs, targets, at_once=3000).sum().backward()
    assert plainly.count == 200 * 300
    assert largest.count == 3000
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        chunked_cross_entropy(*inputs, targets, at_once=3000)
    assert saved and max(saved) == inputs[1].numel()


@pytest.mark.parametrize(
    "head",
    [
        CategoricalHead(TokenSpec("categorical", 40, (1, 1, 1)), 8),
        BitsHead(TokenSpec("bits", 6, (1, 1, 1)), 8, group=3),
        ResidualHead(TokenSpec("residual", 9, (1, 1, 1), levels=4), 8),
    ],
)
def test_heads_take_it_for_many_logits(head: ChoiceHead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients are those of few."""
    source = torch.Generator().manual_seed(0)
    head = head.double()
    torch.nn.init.normal_(head.project.weight, generator=source)
    features = torch.randn(3, 7, 8, generator=source, dtype=torch.float64, requires_grad=True)
    targets = head.join(torch.randint(head.choices, (3, 7, head.groups), generator=source))
    inputs = [features, head.project.weight, head.project.bias]
    results = []
    for many in (2**25, 1):
        monkeypatch.setattr(choices, "MANY", many)
        nats = head.nats(features, targets)
        assert nats.shape == (3, 7)
        assert ("Chunked" in str(nats.grad_fn and nats.grad_fn.next_functions[0][0].next_functions)) == (many == 1)
        results.append([nats, *torch.autograd.grad(nats.square().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def add_lora(head: ChoiceHead) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(target_modules=["project"], init_lora_weights=False), head)
    head.double()


WRAPPINGS: dict[str, Callable[[ChoiceHead], object]] = {
    "lora": add_lora,
    "hook": lambda head: head.project.register_forward_hook(lambda module, given, out: -2 * out),
    "parametrisation": lambda head: parametrize.register_parametrization(head.project, "weight", nn.Tanh()),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_wrapped_map_is_called(wrapping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done to it changes the loss of many logits, and the logits of one level, as it changes all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = ResidualHead(TokenSpec("residual", 9, (1, 1, 1), levels=4), 8).double()
        nn.init.normal_(head.project.weight)
        WRAPPINGS[wrapping](head)
        features = torch.randn(3, 7, 8, dtype=torch.float64)
    targets, logits = torch.randint(9, (3, 7, 4)), head.logits(features)
    for level in range(4):
        torch.testing.assert_close(head.at_level(features, level), logits[..., level, :])
    few = head.nats_by_group(features, targets)
    monkeypatch.setattr(choices, "MANY", 1)
    torch.testing.assert_close(head.nats_by_group(features, targets), few)

"""AdamW in one kernel is AdamW."""

from copy import deepcopy

import torch
from torch import nn

from mmgen.training.optim import FusedAdamW, parameter_groups


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 9), nn.LayerNorm(9), nn.Linear(9, 3)).double()


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[torch.Tensor]:
    x = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(steps):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
    return [parameter.detach() for parameter in module.parameters()]


def test_the_fused_update_is_the_plain_one() -> None:
    """Also where it goes on from a state that the plain one left."""
    fused, plain = network(), network()
    ours = FusedAdamW(parameter_groups(fused), 1e-2, 0.1)
    assert all(group["fused"] for group in ours.param_groups)
    other = torch.optim.AdamW(parameter_groups(plain), lr=1e-2, weight_decay=0.1, betas=(0.9, 0.98), fused=False)
    for one, same in zip(train(fused, ours), train(plain, other), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-12)
    ours.load_state_dict(deepcopy(other.state_dict()))
    for one, same in zip(train(fused, ours), train(plain, other), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-12)


def test_devices_without_the_kernel_take_the_plain_one() -> None:
    groups = FusedAdamW(network().to("meta").parameters()).param_groups
    assert not any(group["fused"] for group in groups)

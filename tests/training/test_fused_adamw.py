"""AdamW in one kernel is AdamW."""

from copy import deepcopy

import torch
from torch import nn

from mmgen.training.optim import decay_groups, fused_where_it_can, scheduled_adamw


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
    assert fused_where_it_can(fused)
    ours, _ = scheduled_adamw(fused, 10**9, 1e-2, 0.1, (0.9, 0.98), 0)
    assert all(group["fused"] for group in ours.param_groups)
    other = torch.optim.AdamW(decay_groups(plain, 0.1), lr=1e-2, betas=(0.9, 0.98), fused=False)
    for one, same in zip(train(fused, ours), train(plain, other), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-12)
    ours.load_state_dict(deepcopy(other.state_dict()))
    for one, same in zip(train(fused, ours), train(plain, other), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-12, atol=1e-12)


def test_devices_without_the_kernel_take_the_plain_one() -> None:
    assert not fused_where_it_can(network().to("meta"))

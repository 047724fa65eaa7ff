"""Two processes learn what one process learns from their batches together."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from mmgen.quantizers import BSQ, VQ

STEPS = 4


def batch(step: int, dim: int, rows: int = 48) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(step)) + 0.3


def learn(part: slice, uneven: slice) -> dict[str, Tensor]:
    """Everything the quantizers learn from that part of each batch (VQ also from parts that differ in size)."""
    torch.set_num_threads(1)
    results = {}
    for name, rows in (("even", part), ("uneven", uneven)):
        for cosine in (False, True):
            vq = VQ(10, 3, cosine=cosine, decay=0.7, dead_below=0.5).train()
            for step in range(STEPS):
                vq(batch(step, 3)[rows])
            results |= {f"vq/{name}/{cosine}/{key}": value for key, value in vq.state_dict().items()}
    for group in (1, 2, 4):
        z = batch(0, 4)[part].requires_grad_()
        losses = BSQ(4, group).train()(z).losses
        (gradient,) = torch.autograd.grad(losses["diversity"] + losses["certainty"], z)
        results |= {f"bsq/{group}/diversity": losses["diversity"].detach(), f"gradient/{group}": gradient}
    return results


def worker(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    own = [(slice(0, 24), slice(0, 31)), (slice(24, 48), slice(31, 48))][rank]
    torch.save(learn(*own), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    ranks = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    return ranks[0], ranks[1], learn(slice(None), slice(None))


def test_ranks_agree_exactly(learnt) -> None:
    first, second, _ = learnt
    shared = [name for name in first if not name.startswith("gradient")]
    assert len(shared) > 10
    for name in shared:
        assert torch.equal(first[name], second[name]), name


def test_ranks_equal_one_process_on_the_whole_batch(learnt) -> None:
    first, second, whole = learnt
    for name, expected in whole.items():
        if name.startswith("gradient"):  # data-parallel training averages over ranks, and each rank's mean is over half as many rows
            got = torch.cat([first[name], second[name]]) / 2
        else:
            got = first[name]
        torch.testing.assert_close(got, expected, msg=lambda text, name=name: f"{name}: {text}")


def test_the_case_has_revivals(learnt) -> None:
    """Otherwise the two tests above would not have tried them."""
    vq = VQ(10, 3, decay=0.7, dead_below=0.5).train()
    deaths = 0
    for step in range(STEPS):
        deaths += int((vq.usage < 0.5 * 48 / 10).sum()) if step else 0
        vq(batch(step, 3))
    assert deaths > 0

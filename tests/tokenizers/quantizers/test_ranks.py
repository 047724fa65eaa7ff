"""Two processes learn what one process learns from their batches together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import mmgen
from mmgen.tokenizers.quantizers import BSQ, LFQ, VQ, Gaussian, ResidualVQ

Learnt = dict[str, Tensor]
STEPS = 4


def batch(step: int, dim: int, rows: int = 48) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(step)) + 0.3


def learn(part: slice, uneven: slice) -> Learnt:
    """Everything the quantizers learn from that part of each batch (codebooks also from parts that differ in size)."""
    torch.set_num_threads(1)
    results = {}
    for name, rows in (("even", part), ("uneven", uneven)):
        for cosine in (False, True):
            vq = VQ(10, 3, cosine=cosine, decay=0.7, dead_below=0.5).train()
            for step in range(STEPS):
                vq(batch(step, 3)[rows])
            results |= {f"vq/{name}/{cosine}/{key}": value for key, value in vq.state_dict().items()}
        for shared in (False, True):
            rvq = ResidualVQ(10, 3, 3, shared, dropout=0.7, decay=0.7, dead_below=0.5).train()
            for step in range(STEPS):
                values = rvq(batch(step, 3)[rows]).values
            results |= {f"residual/{name}/{shared}/{key}": value for key, value in rvq.state_dict().items()}
            results[f"rows/{name}/{shared}"] = values  # after dropout
        gaussian = Gaussian(2).train()
        for step in range(STEPS):
            values = gaussian(batch(step, 4)[rows]).values
        results |= {f"gaussian/{name}/{key}": value for key, value in gaussian.state_dict().items()}
        results[f"rows/{name}"] = values  # with noise
    for group in (1, 2, 4):
        for quantizer in (BSQ(4, group), LFQ(4, group)):
            z, kind = batch(0, 4)[part].requires_grad_(), f"{type(quantizer).__name__}/{group}"
            losses = quantizer.train()(z).losses
            (gradient,) = torch.autograd.grad(losses["diversity"] + losses["certainty"], z)
            results |= {f"{kind}/diversity": losses["diversity"].detach(), f"gradient/{kind}": gradient}
    return results


def learn_as_rank(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/rendezvous", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    own = [(slice(0, 24), slice(0, 31)), (slice(24, 48), slice(31, 48))][rank]
    torch.save(learn(*own), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Learnt, Learnt, Learnt]:
    """What rank 0, rank 1, and one process on its own have learnt. The ranks run this file as a script."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"PYTHONPATH": str(Path(mmgen.__file__).parents[1]), "GLOO_SOCKET_IFNAME": "lo"}
    commands = [[sys.executable, __file__, str(rank), str(folder)] for rank in (0, 1)]
    ranks = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        alone = learn(slice(None), slice(None))
        assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second, alone


def test_ranks_agree_exactly(learnt: tuple[Learnt, Learnt, Learnt]) -> None:
    first, second, _ = learnt
    shared = [name for name in first if not name.startswith(("gradient", "rows"))]
    assert len(shared) > 10
    for name in shared:
        assert torch.equal(first[name], second[name]), name


def test_ranks_equal_one_process_on_the_whole_batch(learnt: tuple[Learnt, Learnt, Learnt]) -> None:
    first, second, whole = learnt
    for name, expected in whole.items():
        # Data-parallel training averages gradients over ranks, and each rank's mean is over half as many rows.
        ranks = 2 if name.startswith("gradient") else 1
        split = name.startswith(("gradient", "rows"))
        got = torch.cat([first[name], second[name]]) / ranks if split else first[name]
        torch.testing.assert_close(got, expected, msg=lambda text, name=name: f"{name}: {text}")


def test_the_case_has_revivals(learnt) -> None:
    """Otherwise the two tests above would not have tried them."""
    vq = VQ(10, 3, decay=0.7, dead_below=0.5).train()
    deaths = 0
    for step in range(STEPS):
        deaths += int((vq.usage < 0.5 * 48 / 10).sum()) if step else 0
        vq(batch(step, 3))
    assert deaths > 0


if __name__ == "__main__":
    learn_as_rank(int(sys.argv[1]), sys.argv[2])

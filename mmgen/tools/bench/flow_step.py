"""A training step of a flow-matching model of whole images, against transfusion-pytorch's."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import ContinuousBlockDiffusion, Flow
from mmgen.tools.bench.benchmark import Conditions, Result, register, result
from mmgen.tools.bench.models import generator, parameters
from mmgen.tools.bench.peers.transfusion import transfusion
from mmgen.tools.bench.timing import compare
from mmgen.tools.bench.train_step import training_step
from mmgen.tools.plan.check import CPU_ATTENTION

CHANNELS = 16


@register(
    "flow_step",
    "a training step of flow matching on images of continuous tokens",
    needs=("transfusion-pytorch",),
)
def flow_step(conditions: Conditions) -> Iterator[Result]:
    """8 blocks of width 384 on both sides, 8 images of 256 tokens of 16 channels, the same optimiser. The blocks are
    not the same ones: operations a second are told besides. Ours works the modulation out for every position, each of
    which may have a noise level of its own; the peer once an image.
    """
    shape = (384, 8, 6) if not conditions.tiny else (64, 2, 2)
    rows, side = conditions.size(8, 2), conditions.size(16, 4)
    spec = TokenSpec("continuous", CHANNELS, (1, side, side))
    ours = generator(spec, shape, conditions.device)
    peer = transfusion(spec, shape, conditions.device)
    images = torch.randn(rows, side, side, CHANNELS, generator=torch.Generator().manual_seed(0)).to(conditions.device)
    losses: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "ours": (ours, lambda: _loss(ours, images)),
        "transfusion": (peer, lambda: peer.forward_modality(images)),
    }
    _check(losses["ours"][1], ours.head.get_submodule("project"))
    _check(losses["transfusion"][1], peer.model_to_latent_projs[0])
    work = {name: _operations(loss) for name, (_, loss) in losses.items()}
    measured = compare(
        {name: training_step(model, loss) for name, (model, loss) in losses.items()}, conditions.runs, conditions.device
    )
    more = {f"{name}_gflops": work[name] / measured.median(name) / 1e9 for name in losses}
    more |= {"parameters": float(parameters(ours)), "peer_parameters": float(parameters(peer))}
    yield result(
        conditions, "flow_step/transfusion", measured, "transfusion", package="transfusion-pytorch", more=more,
        settings={"shape": shape, "rows": rows, "tokens": side**2, "channels": CHANNELS, "dtype": "float32"},
    )  # fmt: skip


def _loss(ours: Generator, images: Tensor) -> Tensor:
    tokens = Tokens(images.flatten(1, 2), ours.spec.grid)
    condition = ours.conditions(rows=len(images))
    draws = Draws(0, torch.arange(len(images), device=ours.device))
    (losses,) = ContinuousBlockDiffusion(ours.spec.length, Flow()).losses(ours, tokens, condition, draws).values()
    return losses.mean()


def _check(loss: Callable[[], Tensor], last: nn.Module) -> None:
    """Both are asked for the velocity between noise and data of variance 1, which to a model that says 0 is worth 2."""
    hook = last.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    with torch.no_grad():
        at_zero = float(torch.stack([loss() for _ in range(8)]).mean())
    hook.remove()
    assert abs(at_zero - 2) < 0.2, f"the loss of a model that says 0 is {at_zero:.3f}, not 2"


def _operations(loss: Callable[[], Tensor]) -> float:
    """Floating-point operations of a step, forward and backward."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        loss().backward()
    return float(counter.get_total_flops())

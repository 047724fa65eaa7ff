"""A training step of a flow-matching model of whole images, against transfusion-pytorch's."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmgen.core.tokens import TokenSpec
from mmgen.paradigms import ContinuousBlockDiffusion, Flow
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.models import count_parameters, generator, loss
from mmgen.tools.bench.train_step import training_step
from mmgen.tools.plan.check import CPU_ATTENTION

CHANNELS = 16


@register(
    "flow_step", "a training step of flow matching on images of continuous tokens", needs=("transfusion-pytorch",)
)
def flow_step(conditions: Conditions) -> Iterator[Result]:
    """8 blocks of width 384 on both sides, 8 images of 256 tokens of 16 channels, the same optimiser.

    The blocks are not the same ones, so operations a second are reported too. Ours works the modulation out for every
    position, each of which may have a noise level of its own; the peer once an image.
    """
    rows, side = conditions.size(8, 2), conditions.size(16, 4)
    spec = TokenSpec("continuous", CHANNELS, (1, side, side))
    paradigm = ContinuousBlockDiffusion(spec.length, Flow())
    ours = generator(paradigm, spec, conditions.shape, conditions.device)
    peer = transfusion(spec, conditions.shape, conditions.device)
    images = torch.randn(rows, side, side, CHANNELS, generator=torch.Generator().manual_seed(0)).to(conditions.device)
    losses: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "ours": (ours, lambda: loss(paradigm, ours, images.flatten(1, 2))),
        "transfusion": (peer, lambda: peer.forward_modality(images)),
    }
    _check(losses["ours"][1], ours.head.get_submodule("project"))
    _check(losses["transfusion"][1], peer.model_to_latent_projs[0])
    work = {name: _operations(loss) for name, (_, loss) in losses.items()}
    measured = conditions.compare({name: training_step(model, loss) for name, (model, loss) in losses.items()})
    more = {f"{name}_gflops": work[name] / measured.median(name) / 1e9 for name in losses}
    more |= {"parameters": count_parameters(ours), "peer_parameters": count_parameters(peer)}
    yield conditions.result(
        "flow_step/transfusion", measured, "transfusion", package="transfusion-pytorch", more=more,
        shape=conditions.shape, rows=rows, tokens=side**2, channels=CHANNELS,
    )  # fmt: skip


def transfusion(spec: TokenSpec, shape: tuple[int, int, int], device: torch.device) -> Any:
    """`transfusion_pytorch.Transfusion` of these continuous tokens, of a width, blocks and heads, without text.

    All else is the package's default: capped scores, gated values, links between distant blocks.
    """
    from transfusion_pytorch import Transfusion

    dim, depth, heads = shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transfusion(
            num_text_tokens=1,
            dim_latent=spec.size,
            modality_default_shape=tuple(spec.grid[1:]),
            transformer={"dim": dim, "depth": depth, "heads": heads, "dim_head": dim // heads},
        )
    return model.to(device)


def _check(loss: Callable[[], Tensor], last: nn.Module) -> None:
    """Both predict the velocity between noise and data of variance 1: the loss of a model that says 0 is 2."""
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

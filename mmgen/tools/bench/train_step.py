"""A training step of an autoregressive model, against transformers and x-transformers with the same weights."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.layout import grid_layout
from mmgen.core.tokens import TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.llama import llama_like, transformers_llama, x_transformer
from mmgen.tools.bench.models import count_parameters, loss
from mmgen.training.optim import FusedAdamW, parameter_groups

GOALS = {"x-transformers": 1.1, "transformers": 1.0}


@register(
    "train_step",
    "tokens a second in training: forward, backward and AdamW of an autoregressive model",
    needs=tuple(GOALS),
)
def train_step(conditions: Conditions) -> Iterator[Result]:
    """8 blocks of width 384, 8 rows of 256 tokens of 1024 values, the same weights and optimiser on all sides.

    Rows are one token longer than what is predicted, as the peers take them; ours has its prefix there.
    """
    rows, length, size = conditions.size(8, 2), conditions.size(256, 16), conditions.size(1024, 32)
    ours = llama_like(TokenSpec("categorical", size, (length, 1, 1)), conditions.shape, conditions.device)
    llama, wrapper = transformers_llama(ours), x_transformer(ours)
    tokens = torch.randint(size, (rows, length + 1), generator=torch.Generator().manual_seed(0)).to(conditions.device)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].contiguous()
    _check(ours, tokens, lambda inputs: llama(inputs).logits, llama.get_input_embeddings())
    _check(ours, tokens, wrapper.net, wrapper.net.token_emb.emb)
    measured = conditions.compare(
        {
            "ours": training_step(ours, lambda: loss(Autoregressive(), ours, targets)),
            "x-transformers": training_step(wrapper, lambda: wrapper(tokens)),
            "transformers": training_step(llama, lambda: llama(inputs, labels=inputs, shift_labels=targets).loss),
            "products alone": _products(ours, rows * length),
        }
    )
    for peer, goal in GOALS.items():
        yield conditions.result(
            f"train_step/{peer}", measured, peer, work=rows * length, unit="tokens/s", goal=goal,
            limit="products alone", package=peer, more={"parameters": count_parameters(ours)}, shape=conditions.shape,
            rows=rows, tokens=length, values=size,
        )  # fmt: skip


def training_step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward, backward and AdamW, with our groups of parameters and the fused kernel."""
    model.train()
    optimiser = FusedAdamW(parameter_groups(model), lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return step


def _check(ours: Generator, tokens: Tensor, peer: Callable[[Tensor], Tensor], table: nn.Module) -> None:
    """The same loss, and the same gradient at the far end of it, the table of tokens."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    layout, mask = grid_layout(ours.spec.grid).to(ours.device), Autoregressive().mask
    condition = ours.conditions(rows=len(tokens))
    losses = [
        ours.head.nats(ours(inputs, layout, mask, condition), targets).mean(),
        F.cross_entropy(peer(inputs).flatten(0, 1), targets.flatten()),
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
    grads = [
        torch.autograd.grad(loss, each)[0]
        for loss, each in zip(losses, (ours.get_parameter("embedding.table.weight"), table.get_parameter("weight")))
    ]
    size = ours.spec.size
    torch.testing.assert_close(grads[0][:size], grads[1][:size], rtol=1e-3, atol=1e-3 * float(grads[1].abs().max()))


def _products(ours: Generator, positions: int) -> Callable[[], None]:
    """The matrix products of a step and nothing else: forward, and both gradients."""
    pairs = [
        (linear.weight.detach(), torch.randn(positions, linear.in_features, device=ours.device))
        for linear in ours.modules()
        if isinstance(linear, nn.Linear)
    ]

    def run() -> None:
        for weight, x in pairs:
            out = x @ weight.mT
            out @ weight
            out.mT @ x

    return run

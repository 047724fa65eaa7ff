"""A training step of an autoregressive model, against transformers and x-transformers with the same weights."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.layout import grid_layout
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import Autoregressive
from mmgen.tools.bench.benchmark import Conditions, Result, register, result
from mmgen.tools.bench.models import LLAMA, generator, parameters
from mmgen.tools.bench.peers.llama import transformers_llama, x_transformer
from mmgen.tools.bench.timing import compare
from mmgen.training.optim import FusedAdamW, parameter_groups

GOALS = {"x-transformers": 1.1, "transformers": 1.0}


@register(
    "train_step",
    "tokens a second in training: forward, backward and AdamW of an autoregressive model",
    needs=("x-transformers", "transformers"),
)
def train_step(conditions: Conditions) -> Iterator[Result]:
    """8 blocks of width 384, 8 rows of 256 tokens of 1024 values, the same weights and optimiser on all sides."""
    shape = (384, 8, 6) if not conditions.tiny else (64, 2, 2)
    rows, length, size = conditions.size(8, 2), conditions.size(256, 16), conditions.size(1024, 32)
    ours = generator(TokenSpec("categorical", size, (length, 1, 1)), shape, conditions.device, LLAMA)
    torch.nn.init.zeros_(require_choices(ours.head, "bench").project.bias)
    llama, wrapper = transformers_llama(ours), x_transformer(ours)
    source = torch.Generator().manual_seed(0)
    tokens = torch.randint(size, (rows, length + 1), generator=source).to(conditions.device)
    seen, asked = tokens[:, :-1], tokens[:, 1:].contiguous()
    _check(ours, tokens, lambda seen: llama(seen).logits, llama.get_input_embeddings())
    _check(ours, tokens, wrapper.net, wrapper.net.token_emb.emb)
    contenders: dict[str, Callable[[], object]] = {
        "ours": training_step(ours, lambda: _loss(ours, tokens)),
        "x-transformers": training_step(wrapper, lambda: wrapper(tokens)),
        "transformers": training_step(llama, lambda: llama(seen, labels=seen, shift_labels=asked).loss),
        "products alone": _products(ours, rows * length),
    }
    measured = compare(contenders, conditions.runs, conditions.device)
    settings = {"shape": shape, "rows": rows, "tokens": length, "values": size, "dtype": "float32"}
    for peer, goal in GOALS.items():
        yield result(
            conditions, f"train_step/{peer}", measured, peer, work=rows * length, unit="tokens/s", goal=goal,
            limit="products alone", package=peer, settings=settings, more={"parameters": float(parameters(ours))},
        )  # fmt: skip


def _loss(ours: Generator, tokens: Tensor) -> Tensor:
    """Of rows that are one token longer than what is predicted, as the others take them: the prefix stands there."""
    values = Tokens(tokens[:, 1:], ours.spec.grid)
    condition = ours.conditions(rows=len(tokens))
    draws = Draws(0, torch.arange(len(tokens), device=ours.device))
    (losses,) = Autoregressive().losses(ours, values, condition, draws).values()
    return losses.mean()


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
    seen, asked = tokens[:, :-1], tokens[:, 1:]
    layout, mask = grid_layout(ours.spec.grid).to(ours.device), Autoregressive().mask
    condition = ours.conditions(rows=len(tokens))
    losses = [
        ours.head.nats(ours(seen, layout, mask, condition), asked).mean(),
        F.cross_entropy(peer(seen).flatten(0, 1), asked.flatten()),
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

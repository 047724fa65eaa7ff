"""Masked sampling in a few steps: what the sampler itself takes, and a pass against one of muse-maskgit-pytorch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from PIL import ImageFile
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import TokenSpec
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import Masked, Request
from mmgen.paradigms.base import SampleOptions, row_layout
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.models import count_parameters, generator

PER_PRODUCT = 1.15  # how many times the peer's time a multiplication, of both samplers as a whole
OWN_WORK = 0.03  # share of the sampler outside the passes
TEXT = "t5"  # the peer looks the width of its texts up under this name, so that it downloads no model for it


@register(
    "masked",
    "8 steps of masked sampling: the sampler's own work, and the time a multiplication of muse-maskgit-pytorch's",
    needs=("muse-maskgit-pytorch",),
)
@torch.no_grad()
def masked(conditions: Conditions) -> Iterator[Result]:
    """256 tokens of 1024 values at batch 8, 8 blocks of width 384 on both sides. The peer's blocks have a second
    attention, to a text of one position here, whose products count.
    """
    side, size, steps, batch = conditions.size(16, 4), conditions.size(1024, 32), conditions.size(8, 3), 8
    spec = TokenSpec("categorical", size, (1, side, side))
    options = {"modulation": "none", "rope": None, "mlp": "swiglu"}
    ours = generator(Masked(), spec, conditions.shape, conditions.device, options, positions="learned")
    peer = muse(spec, conditions.shape, conditions.device)
    contenders: dict[str, Callable[[], Any]] = {
        "ours": sampler(ours, batch, steps),
        "passes alone": passes(ours, batch, steps),
        "muse-maskgit": muse_sampler(peer, side, batch, steps),
    }
    samples = contenders["ours"]()
    for tokens in (samples, contenders["muse-maskgit"]()):
        assert tokens.shape == (batch, side * side) and int(tokens.min()) >= 0 and int(tokens.max()) < size
    assert torch.equal(contenders["ours"](), samples), "the same seed must give the same tokens"
    measured = conditions.compare(contenders)
    settings: dict[str, Any] = {
        "shape": conditions.shape,
        "batch": batch,
        "tokens": side * side,
        "values": size,
        "steps": steps,
    }
    more = {"own_work_share": 1 - measured.ratio("passes alone", "ours"), "parameters": count_parameters(ours)}
    yield conditions.result(
        "masked/own-work", measured, "passes alone", goal=1 - OWN_WORK, limit="passes alone", more=more, **settings
    )
    times = conditions.result(
        "masked/muse-maskgit", measured, "muse-maskgit", goal=PER_PRODUCT, limit="passes alone",
        package="muse-maskgit-pytorch", **settings,
    )  # fmt: skip
    ours_work, peer_work = (batch * steps * each for each in (multiplications(ours), muse_multiplications(peer, side)))
    yield replace(
        times,
        ours=ours_work / measured.median("ours") / 1e9,
        peer=peer_work / measured.median("muse-maskgit") / 1e9,
        unit="G multiply-adds/s",
        ratio=times.ratio * ours_work / peer_work,
        more={"ours_ms": times.ours, "peer_ms": times.peer},
    )


def sampler(ours: Generator, batch: int, steps: int) -> Callable[[], Tensor]:
    """Samples (batch, N) tokens."""
    request = Request(Draws(0, torch.arange(batch, device=ours.device)))

    def sample() -> Tensor:
        *_, last = Masked(steps=steps).sample(ours, request, SampleOptions())
        return last.tokens

    return sample


def passes(ours: Generator, batch: int, steps: int) -> Callable[[], object]:
    """The passes of the sampler and the logits, as it runs them, and nothing else."""
    request = Request(Draws(0, torch.arange(batch, device=ours.device)))
    paradigm, row = Masked(), row_layout(ours.prefix, ours.spec.grid, ours.device)
    tokens = torch.zeros(batch, ours.spec.length, dtype=torch.int64, device=ours.device)
    hidden = torch.ones_like(tokens, dtype=torch.bool)

    def run() -> None:
        model = request.guided(ours, SampleOptions().guidance)
        for _ in range(steps):
            ours.head.predict(model.features(tokens, row, paradigm.mask, hidden=hidden, outputs=tokens.shape[1]))

    return run


def multiplications(ours: Generator) -> float:
    """Multiply-adds of a pass over one row: of the linear maps, and of attention."""
    backbone, length = ours.backbone, ours.spec.length + ours.prefix_length
    linear = sum(p.numel() for block in backbone.blocks for p in block.parameters() if p.dim() == 2)
    linear -= sum(p.numel() for name, p in backbone.named_parameters() if "norm_" in name and p.dim() == 2)  # gains
    attention = 2 * backbone.depth * backbone.dim * length
    head = require_choices(ours.head, "bench").project.weight.numel()
    return float(length * (linear + attention) + ours.spec.length * head)


def muse(spec: TokenSpec, shape: tuple[int, int, int], device: torch.device) -> Any:
    """`muse_maskgit_pytorch.MaskGit` in evaluation mode, of a width, blocks and heads, without an autoencoder, that
    reads a text of one position.
    """
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    from muse_maskgit_pytorch import MaskGit, MaskGitTransformer
    from muse_maskgit_pytorch.t5 import T5_CONFIGS

    ImageFile.LOAD_TRUNCATED_IMAGES = strict  # its trainer takes damaged images, for the whole process
    dim, depth, heads = shape
    T5_CONFIGS[TEXT] = {"config": type("Config", (), {"d_model": dim})}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = MaskGitTransformer(
            num_tokens=spec.size, seq_len=spec.length, dim=dim, depth=depth, dim_head=dim // heads, heads=heads,
            flash=False, t5_name=TEXT,
        )  # fmt: skip
    transformer.encode_text = lambda texts: torch.ones(len(texts), 1, dim, device=device)
    model = MaskGit.__new__(MaskGit)  # its constructor requires a trained autoencoder
    torch.nn.Module.__init__(model)
    model.vae, model.image_size = _NoAutoencoder(), spec.grid[1]
    model.transformer, model.mask_id = transformer, transformer.mask_id
    model.noise_schedule = lambda t: torch.cos(t * torch.pi / 2)
    model.token_critic, model.self_cond, model.resize_image_for_cond_image = None, False, False
    return model.to(device).eval()


def muse_sampler(model: Any, side: int, batch: int, steps: int) -> Callable[[], Tensor]:
    """Samples (batch, side^2) tokens, without guidance."""
    from muse_maskgit_pytorch import muse_maskgit_pytorch as module

    module.tqdm = lambda steps, **_: steps  # no bar
    run = torch.no_grad()(model.generate)
    return lambda: run([""] * batch, fmap_size=side, timesteps=steps, cond_scale=1.0).flatten(1)


def muse_multiplications(model: Any, side: int) -> float:
    """Multiply-adds of a pass over one row: keys and values of the text once a row, all other maps once a token."""
    length, transformer = side**2, model.transformer
    total = float(length * transformer.to_logits.weight.numel())
    for own, cross, feed in transformer.transformer_blocks.layers:
        inner = own.to_q.weight.shape[0]
        each = sum(p.numel() for part in (own, feed) for p in part.parameters() if p.dim() == 2)
        each += cross.to_q.weight.numel() + cross.to_out.weight.numel()
        total += length * (each + 2 * inner * (length + 1) + 2 * inner * 2) + cross.to_kv.weight.numel()
    return total


class _NoAutoencoder:
    """In place of an autoencoder: sampled tokens are returned as they are."""

    def get_encoded_fmap_size(self, size: int) -> int:
        return size

    def decode_from_ids(self, ids: Tensor) -> Tensor:
        return ids

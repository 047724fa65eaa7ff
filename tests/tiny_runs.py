"""Run folders made by hand, as `mmgen fit` leaves them, so that loading and sampling are tested without training."""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mmgen.backbone import Transformer
from mmgen.generator import Generator
from mmgen.quantizers import BSQ
from mmgen.store import load_tokenizer, weights_hash
from mmgen.tokenizers import ConvImageTokenizer

CLASS_NAMES = ["zero", "one", "two"]
TOKENIZER = {
    "class_path": "mmgen.tokenizers.ConvImageTokenizer",
    "init_args": {
        "quantizer": {"class_path": "mmgen.quantizers.BSQ", "init_args": {"bits": 4}},
        "image_size": 8,
        "channels": 1,
        "width": 8,
        "downsample": 2,
    },
}
AR = {"class_path": "mmgen.paradigms.Autoregressive", "init_args": {"mask": "causal"}}
MIXTURE = {
    "class_path": "mmgen.paradigms.Mixture",
    "init_args": {
        "members": {
            "ar": AR,
            "masked": {"class_path": "mmgen.paradigms.Masked", "init_args": {"steps": 3}},
            "block": {"class_path": "mmgen.paradigms.BlockDiffusion", "init_args": {"block_size": 4, "steps": 2}},
        }
    },
}


def scramble(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights everywhere, also where initialisation puts zeros, so that every input counts."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=source))
    return module


def tokenizer_run(folder: Path, seed: int = 0) -> Path:
    """A tokenizer of 8x8 grey images, 4x4 tokens of 4 bits."""
    module = scramble(ConvImageTokenizer(BSQ(4), image_size=8, channels=1, width=8, downsample=2), seed)
    config = {"class_path": "mmgen.lit.TokenizerModule", "init_args": {"tokenizer": TOKENIZER, "lr": 1e-3}}
    return write_run(folder, {"model": config}, prefixed("tokenizer", module))


def generator_run(
    folder: Path, tokenizer: Path | None, classes: int = 3, paradigm: dict[str, Any] = MIXTURE, **changes: Any
) -> Path:
    """A generator of one narrow block; `changes` go to `write_run`."""
    spec = load_tokenizer(tokenizer).spec if tokenizer else ConvImageTokenizer(BSQ(4), 8, 1, 8, 2).spec
    module = scramble(Generator(spec, Transformer(dim=16, depth=1, heads=2), classes), 1)
    backbone = {
        "class_path": "mmgen.backbone.Transformer",
        "init_args": {"size": "tiny", "dim": 16, "depth": 1, "heads": 2},
    }
    init_args = {
        "backbone": backbone,
        "paradigm": paradigm,
        "positions": "learned",
        "condition_dropout": 0.1,
        "lr": 1e-3,
    }
    source = str(tokenizer) if tokenizer else None
    data = {"class_path": "mmgen.data.Digits", "init_args": {"tokenizer": source}}
    model = {"class_path": "mmgen.lit.GeneratorModule", "init_args": init_args}
    names = [*CLASS_NAMES, *map(str, range(3, classes))][:classes]
    hash_ = weights_hash(load_tokenizer(tokenizer)) if tokenizer else None
    record = {
        "spec": spec.to_dict(), "classes": classes, "class_names": names, "tokenizer": source, "tokenizer_hash": hash_
    }  # fmt: skip
    return write_run(folder, {"model": model, "data": data}, prefixed("generator", module), mmgen=record, **changes)


def write_run(folder: Path, config: dict[str, Any], state: dict[str, Tensor], **extra: Any) -> Path:
    """config.yaml and checkpoints/last.ckpt; `extra` goes into the checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 0, **config}, sort_keys=False))
    torch.save({"state_dict": state, "global_step": 12, "epoch": 1, **extra}, folder / "checkpoints" / "last.ckpt")
    return folder


def prefixed(name: str, module: nn.Module) -> dict[str, Tensor]:
    """A state dict as the Lightning module that holds `module` under that name writes it."""
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}

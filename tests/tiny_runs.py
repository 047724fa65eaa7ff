"""Run folders made by hand, as `mmgen fit` leaves them, so that loading and sampling are tested without training."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mmgen.core.facts import Facts
from mmgen.core.vocabulary import FrameNames, Names, Vocabulary
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.modalities.video.sources.moving_digits import MovingDigits
from mmgen.model.embeddings.positions import PositionKind
from mmgen.store.rebuild import build_generator, build_tokenizer
from mmgen.store.store import load_tokenizer, weights_hash
from mmgen.tokenizers.quantizers import BSQ
from tests.data_modules import data_section

CLASS_NAMES = ["zero", "one", "two"]
TOKENIZER = {
    "class_path": "mmgen.modalities.image.tokenizers.conv.ConvImageTokenizer",
    "init_args": {
        "quantizer": {"class_path": "mmgen.tokenizers.quantizers.BSQ", "init_args": {"bits": 4}},
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
            "block": {"class_path": "mmgen.paradigms.BlockDiffusion", "init_args": {"split": 4, "steps": 2}},
        }
    },
}

_NARROW = {"dim": 16, "depth": 1, "heads": 2}
_FRAMES = {
    "class_path": "mmgen.model.backbone.Transformer",
    "init_args": {"size": "tiny", **_NARROW, "modulation": "none", "rope": [1, 1, 1]},
}
VIDEO_TOKENIZER = {
    "class_path": "mmgen.modalities.video.tokenizers.vit.VideoViTTokenizer",
    "init_args": {
        "quantizer": {"class_path": "mmgen.tokenizers.quantizers.BSQ", "init_args": {"bits": 4}},
        "encoder": _FRAMES,
        "decoder": _FRAMES,
        "image_size": 32,
        "channels": 1,
        "patch": 16,
        "frames": 4,
    },
}
KINDS = {"class": Names, "actions": FrameNames}
ACTION_NAMES = ["stay", "left", "right"]
VIDEO_MIXTURE = {
    "class_path": "mmgen.paradigms.Mixture",
    "init_args": {
        "members": {
            "ar": AR,
            "frame": {"class_path": "mmgen.paradigms.FrameAutoregressive", "init_args": {"context_noise": 0.0}},
            "block": {"class_path": "mmgen.paradigms.BlockDiffusion", "init_args": {"split": "frame", "steps": 2}},
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
    return write_tokenizer(folder, TOKENIZER, scramble(build_tokenizer({"tokenizer": TOKENIZER}, "tests"), seed))


def video_tokenizer_run(folder: Path, seed: int = 0) -> Path:
    """A tokenizer of grey clips of four 32x32 frames, 2x2 tokens of 4 bits each, that streams."""
    module = scramble(build_tokenizer({"tokenizer": VIDEO_TOKENIZER}, "tests"), seed)
    return write_tokenizer(folder, VIDEO_TOKENIZER, module)


def video_run(
    folder: Path,
    tokenizer: Path,
    classes: int = 10,
    actions: int = 3,
    paradigm: dict[str, Any] = VIDEO_MIXTURE,
    action_names: Sequence[str] = ACTION_NAMES,
    fps: float = 10.0,
) -> Path:
    """A generator of clips of any length, whose data are single moving digits made of noise images, without actions."""
    digits = MovingDigits.make_fake(folder.parent / "digits")
    data = data_section("MovingDigits", frames=4, digits=1, size=32, tokenizer=str(tokenizer), **digits)
    names = tuple(map(str, range(classes)))
    return generator_run(
        folder, tokenizer, classes, paradigm, action_names[:actions], fps, "spatial", data, class_names=names
    )


def generator_run(
    folder: Path,
    tokenizer: Path | None,
    classes: int = 3,
    paradigm: dict[str, Any] = MIXTURE,
    action_names: Sequence[str] = (),
    fps: float | None = None,
    positions: PositionKind = "learned",
    data: dict[str, Any] | None = None,
    class_names: Sequence[str] = (),
    **changes: Any,
) -> Path:
    """A generator of one narrow block; `changes` go to `write_run`."""
    spec = load_tokenizer(tokenizer).spec if tokenizer else ConvImageTokenizer(BSQ(4), 8, 1, 8, 2).spec
    backbone = {"class_path": "mmgen.model.backbone.Transformer", "init_args": {"size": "tiny", **_NARROW}}
    init_args = {"backbone": backbone, "paradigm": paradigm, "positions": positions}
    source = str(tokenizer) if tokenizer else None
    data = data or data_section("Digits", tokenizer=source)
    digits = [*map(str, range(classes))]  # the names of their data, where all of them are meant
    classes_named = class_names or (CLASS_NAMES[:classes] if classes < 10 else digits)
    names = {"class": classes_named, "actions": action_names}
    facts = Facts(
        spec,
        {name: KINDS[name](tuple(each)) for name, each in names.items() if each},
        fps=fps,
        tokenizer_path=source,
        tokenizer_hash=weights_hash(load_tokenizer(tokenizer)) if tokenizer else None,
    )
    return write_generator(folder, init_args, facts, data, **changes)


def timed_run(
    folder: Path,
    tokenizer: Path,
    frames: int,
    conditions: Mapping[str, Vocabulary],
    paradigm: dict[str, Any],
    data: dict[str, Any],
    **rates: Any,
) -> Path:
    """A generator of one narrow block that makes sounds or motions of so many samples or frames."""
    coder = load_tokenizer(tokenizer)
    backbone = {"class_path": "mmgen.model.backbone.Transformer"}
    backbone["init_args"] = {"size": "tiny", **_NARROW, "rope": [1, 1, 1]}  # type: ignore[assignment]
    spec, digest = coder.spec.with_frames(frames), weights_hash(coder)
    facts = Facts(spec, conditions, tokenizer_path=str(tokenizer), tokenizer_hash=digest, **rates)
    return write_generator(folder, {"backbone": backbone, "paradigm": paradigm, "positions": "none"}, facts, data)


def write_tokenizer(folder: Path, tokenizer: dict[str, Any], module: nn.Module) -> Path:
    """The run of a tokenizer that a section of a config describes."""
    model = {"class_path": "mmgen.training.TokenizerModule", "init_args": {"tokenizer": tokenizer}}
    return write_run(folder, {"model": model}, prefixed("tokenizer", module))


def write_generator(
    folder: Path, init_args: dict[str, Any], facts: Facts, data: dict[str, Any], **changes: Any
) -> Path:
    """The run of a generator with random weights."""
    model = {"class_path": "mmgen.training.GeneratorModule", "init_args": init_args}
    state = prefixed("generator", untrained(init_args, facts))
    return write_run(folder, {"model": model, "data": data}, state, mmgen=facts.to_dict(), **changes)


def untrained(init_args: dict[str, Any], facts: Facts) -> nn.Module:
    """The generator that a module's section of a config describes, with random weights."""
    return scramble(build_generator(copy.deepcopy(init_args), facts, "tests")[0], 1)


def ending(paradigm: dict[str, Any]) -> dict[str, Any]:
    """The section of a paradigm with `ends` in those over codebooks, also in members of a mixture."""
    init_args = dict(paradigm.get("init_args", {}))
    if "members" in init_args:
        init_args["members"] = {name: ending(member) for name, member in init_args["members"].items()}
    elif paradigm["class_path"].rpartition(".")[2] in ("CodebookAutoregressive", "SpanInfill", "Hierarchical"):
        init_args["ends"] = True
    return {**paradigm, "init_args": init_args}


def write_run(folder: Path, config: dict[str, Any], state: dict[str, Tensor], **extra: Any) -> Path:
    """config.yaml and checkpoints/last.ckpt; `extra` goes into the checkpoint."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 0, **config}, sort_keys=False))
    torch.save({"state_dict": state, "global_step": 12, "epoch": 1, **extra}, folder / "checkpoints" / "last.ckpt")
    return folder


def prefixed(name: str, module: nn.Module) -> dict[str, Tensor]:
    """A state dict as the Lightning module that holds `module` under that name writes it."""
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}

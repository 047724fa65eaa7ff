"""Trained models on disk: run folders and exports, back to modules.

A run folder holds `config.yaml` and `checkpoints/last.ckpt`. An export holds `config.yaml`, `model.safetensors`, and
for a generator its tokenizer in `tokenizer/`. A folder with a tokenizer that another package published
(`Modality.open_published`) counts as a tokenizer too. None can run code: checkpoints are read with `weights_only`,
safetensors holds numbers alone, and a config may only name classes of mmgen.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mmgen.core.command_options import default_options, require_own_options
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts, trained_anew
from mmgen.core.modality import all_modalities
from mmgen.core.terminal import printable
from mmgen.core.tokens import TokenSpec
from mmgen.media.folders import whole_folder
from mmgen.media.torch_file import Unsound
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.store.checkpoint_file import BEST, LAST, find_checkpoint, read_checkpoint
from mmgen.store.checkpoint_name import CheckpointName
from mmgen.store.export_config import export_config
from mmgen.store.members import MemberOf, find_member
from mmgen.store.rebuild import build_generator, build_tokenizer
from mmgen.store.run_config import CONFIG, Kind, kind_of, read_config, recipe_for
from mmgen.store.run_paths import find_folder
from mmgen.store.weights import WEIGHTS, build_for, hash_tensors, read_weights, write_weights
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.pretrained import library_of

CHECKPOINT = Path("checkpoints") / LAST
FILES: dict[CheckpointName, str] = {"last": LAST, "best": BEST}

logger = logging.getLogger("mmgen.store.store")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A generator that is ready to sample.

    Args:
        generator: the module, in eval mode.
        paradigm: how it is trained and sampled; `paradigm.modes()` are the ways it can sample.
        tokenizer: the frozen tokenizer whose tokens it was trained on; None where the run had none.
        facts: of the data: shape of its tokens, conditions and their vocabularies, rates.
        config: the whole config of the run.
        step: optimiser steps that were taken.
        path: the folder it came from.
    """

    generator: Generator
    paradigm: Paradigm
    tokenizer: Tokenizer | None
    facts: Facts
    config: dict[str, Any]
    step: int
    path: Path

    @property
    def spec(self) -> TokenSpec:
        """Shape and alphabet of the tokens."""
        return self.generator.spec

    def to(self, device: torch.device | str) -> "Loaded":
        """The same parts on another device (modules move in place)."""
        self.generator.to(device)
        if self.tokenizer is not None:
            self.tokenizer.to(device)
        return self


def load_tokenizer(path: str | Path, checkpoint: CheckpointName = "last") -> Tokenizer:
    """The tokenizer of a run folder or an export, or one that another package published, in eval mode and frozen.

    Raises:
        UserError: no such folder, never trained, truncated or corrupt weights, weights of another shape than the config
            says, a generator's folder, or a config that names a class outside mmgen.
    """
    return _tokenizer(Saved.read(path, "tokenizer", checkpoint=checkpoint))


def _tokenizer(saved: "Saved") -> Tokenizer:
    def build() -> Tokenizer:
        return build_tokenizer(saved.init_args, saved.where)

    tokenizer = build_for(saved.state, build, lambda built: built, saved.weights)
    return tokenizer.eval().requires_grad_(False)


def load_generator(path: str | Path, checkpoint: CheckpointName = "last") -> Loaded:
    """The generator of a run folder or an export, or of RUN/MEMBER for a run of several modalities, with all that
    sampling needs.

    Raises:
        UserError: as `load_tokenizer`, for the generator or for its tokenizer; or the tokenizer is not where it was, or
            now yields other tokens.
    """
    saved = Saved.read(path, "generator", checkpoint=checkpoint)
    try:
        facts = Facts.from_dict(saved.record)
        spec = facts.spec
        if spec is None:
            raise ValueError("its tokens are missing")
    except (UserError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"{saved.weights} does not say what its generator was trained on ({type(error).__name__}: {error}); was it"
            " written by `mmgen fit` or `mmgen export`?"
        ) from None

    def build() -> tuple[Generator, Paradigm]:
        return build_generator(saved.init_args, facts, saved.where)

    generator, paradigm = build_for(saved.state, build, lambda built: built[0], saved.weights)
    source = saved.tokenizer_path()
    tokenizer = None if source is None else load_tokenizer(source)
    if tokenizer is not None:
        yields = tokenizer.spec
        if spec.modality == yields.modality and spec.unit:  # of clips of the data's length, whatever it was trained on
            yields = yields.with_frames(spec.frames(spec.grid[0]))
        if yields != spec:
            raise UserError(
                f"{saved.path} was trained on tokens of {spec}, but the tokenizer {source} now yields {yields}"
            )
        if facts.tokenizer_hash not in (None, weights_hash(tokenizer)):
            raise UserError(trained_anew(str(source), str(saved.path)))
    return Loaded(generator.eval(), paradigm, tokenizer, facts, saved.config, saved.step, saved.path)


def save_export(path: str | Path, out: str | Path, checkpoint: CheckpointName = "last", **published: Any) -> "Saved":
    """Write a run, or a tokenizer that another package published, as an export: the config, the weights that sampling
    uses (the average where the run kept one) as safetensors, and a generator's tokenizer in `tokenizer/`.

    Args:
        path: the run folder, an export, or the folder of a published tokenizer.
        out: a folder that does not exist yet, or is empty.
        checkpoint: which of a run's.
        published: how to take a published tokenizer, see `Modality.export_options`.

    Raises:
        UserError: the run cannot be loaded (nothing is written then), or `out` is not empty or cannot be made.
    """
    saved = Saved.read(path, checkpoint=checkpoint, published=published)
    # What does not load is refused before anything is written.
    _tokenizer(saved) if saved.kind == "tokenizer" else load_generator(path, checkpoint)
    with whole_folder(out) as folder:
        config = _write_export(saved, folder, Path(out))
    return replace(saved, path=Path(out), weights=Path(out) / WEIGHTS, config=config)


def _write_export(saved: "Saved", folder: Path, out: Path) -> dict[str, Any]:
    """Write an export into a folder that will be `out`. Returns its config."""
    source, record = saved.tokenizer_path(), saved.record
    if source is not None:
        (folder / "tokenizer").mkdir()
        _write_export(Saved.read(source), folder / "tokenizer", out / "tokenizer")
        record = record | {"tokenizer_path": "tokenizer"}
    config, shortened = export_config(saved.config, None if source is None else out / "tokenizer")
    head = f"# An export of mmgen: a {saved.kind} after {saved.step} steps. Model and data, without what trained it.\n"
    if shortened:
        places = ", ".join(shortened)
        logger.warning(printable(f"{out / CONFIG}: only the last part is left of the paths {places}"))
    (folder / CONFIG).write_text(head + yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    about = {"kind": saved.kind, "step": saved.step, "averaged": saved.averaged, "record": record}
    write_weights(folder / WEIGHTS, saved.state, about, config["model"])
    return config


def weights_hash(module: nn.Module) -> str:
    """16 hexadecimal digits of a module's state: the same for a run and its export, on any device."""
    return hash_tensors(module.state_dict())[:16]


@dataclass(frozen=True, eq=False)
class Saved:
    """What a folder holds, read and checked but not yet built.

    Args:
        path: the run or export folder; RUN/MEMBER for a member of a joint run.
        kind: `tokenizer` or `generator`.
        config: the content of its config.yaml.
        weights: the file the weights came from.
        state: the module's state dict, named as in the module.
        step: optimiser steps taken.
        averaged: whether the weights are an average over training (EMA).
        record: `Facts.to_dict()` of a generator's data. Empty for a tokenizer.
        checkpoint: which of a run's it is; `last` of what has one only.
    """

    path: Path
    kind: Kind
    config: dict[str, Any]
    weights: Path
    state: dict[str, Tensor]
    step: int
    averaged: bool
    record: dict[str, Any] = field(default_factory=dict)
    checkpoint: CheckpointName = "last"

    @property
    def init_args(self) -> dict[str, Any]:
        """The arguments of the module that was trained: the only part of the config that rebuilding reads."""
        return self.config["model"]["init_args"]

    @property
    def where(self) -> str:
        """The file of the config, for messages."""
        member = find_member(self.path)
        return f"{(self.path if member is None else member.run) / CONFIG}"

    @classmethod
    def read(
        cls,
        path: str | Path,
        wanted: Kind | None = None,
        checkpoint: CheckpointName = "last",
        published: dict[str, Any] | None = None,
    ) -> "Saved":
        """Read a folder of the `wanted` kind, or of either; `published` as in `save_export`. Raises UserError as
        `load_tokenizer` does.
        """
        path, published = Path(path), published or {}
        if wanted != "generator" and (tokenizer := cls._published(path, published)) is not None:
            return tokenizer
        if published:
            options = ", ".join(f"--{name}" for name in published)
            raise UserError(
                f"{options}: only for tokenizers that other packages published, and {path} is none; leave {options} out"
            )
        member = find_member(path)
        config = read_config(path) if member is None else member.config
        kind = kind_of(config, path)
        if wanted is not None and kind != wanted:
            commands = {"tokenizer": "`mmgen reconstruct` takes it", "generator": "`mmgen sample` takes it"}
            raise UserError(f"{path} is a {kind}, but a {wanted} is needed here; {commands[kind]}")
        if (path / WEIGHTS).exists():
            if checkpoint != "last":
                raise UserError(
                    f"--checkpoint {checkpoint} is for runs, and {path} is an export, which has one; leave it out"
                )
            return cls._of_export(path, kind, config)
        return cls._of_run(path, kind, config, member, checkpoint)

    @classmethod
    def _of_run(
        cls, path: Path, kind: Kind, config: dict[str, Any], member: MemberOf | None, name: CheckpointName
    ) -> "Saved":
        run = path if member is None else member.run
        file = run / CHECKPOINT.with_name(FILES[name])
        try:
            file, warning = find_checkpoint(file)
            if warning is not None:
                logger.warning(printable(warning))
            checkpoint = read_checkpoint(file) if file.exists() else None
        except (Unsound, OSError) as error:
            raise UserError(f"checkpoint {file} {error}; train again, or restore the file") from None
        if checkpoint is None:
            if name == "best" and (run / CHECKPOINT).exists():
                reason = "it was not validated yet or checkpoint.best is off"
                raise UserError(f"--checkpoint best: {run} has none, as {reason}; use last")
            recipe = recipe_for(run) or run / CONFIG
            raise UserError(f"{path} was never trained (no {CHECKPOINT}); run mmgen fit --config {recipe}")
        foreign = UserError(f"checkpoint {file} holds no {kind} of mmgen; was it written by `mmgen fit`?")
        try:
            weights, step = dict(checkpoint["state_dict"]), int(checkpoint["global_step"])
        except (KeyError, TypeError, ValueError):
            raise foreign from None
        weights = {name.replace("_orig_mod.", ""): value for name, value in weights.items()}  # of torch.compile
        prefix = f"{kind}." if member is None else member.prefix
        state = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        record = checkpoint.get("mmgen") or {}
        if member is not None and isinstance(record, dict):
            members = record.get("members")
            record = members.get(member.name) if isinstance(members, dict) else None
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise foreign
        if not state or not isinstance(record, dict) or (kind == "generator" and "spec" not in record):
            raise foreign
        return cls(path, kind, config, file, state, step, "current_model_state" in checkpoint, record, name)

    @classmethod
    def _of_export(cls, path: Path, kind: Kind, config: dict[str, Any]) -> "Saved":
        file = path / WEIGHTS
        about, state = read_weights(file, config["model"])
        try:
            record = int(about["step"]), bool(about["averaged"]), dict(about["record"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"{file} was not written by `mmgen export`") from None
        return cls(path, kind, config, file, state, *record)

    @classmethod
    def _published(cls, path: Path, published: dict[str, Any]) -> "Saved | None":
        """A tokenizer that another package published, by the modality that knows its form; None where none does."""
        library = library_of(path)
        modality = next((each for each in all_modalities() if library and each.library == library), None)
        if modality is None:
            return None
        options = default_options("export") | published
        tokenizer = modality.open_published(path, require_own_options("export", modality, options, str(path)))
        file = path / tokenizer.weights
        init_args = {"tokenizer": tokenizer.describe()}
        config = {"model": {"class_path": "mmgen.training.TokenizerModule", "init_args": init_args}}
        return cls(file.parent, "tokenizer", config, file, tokenizer.state_dict(), step=0, averaged=False)

    def tokenizer_path(self) -> Path | None:
        """The folder of a generator's tokenizer: inside an export, or as the run's record names it; None without one.

        A relative path is looked up from the working directory, then from each folder above the run.
        """
        named = self.record.get("tokenizer_path")
        if named is None:
            return None
        if self.weights.name == WEIGHTS:
            return self.path / "tokenizer"
        folder = find_folder(named, self.path)
        if folder is None:
            raise UserError(
                f"the tokenizer {named}, on which {self.path} was trained, is not there; put it back or train it again"
            )
        return folder

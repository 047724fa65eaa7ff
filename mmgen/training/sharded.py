"""Training with a share of the model on each device: FSDP2 through Lightning's ModelParallelStrategy."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from mmgen.core.errors import UserError
from mmgen.media.torch_file import Unsound
from mmgen.model.backbone import Transformer
from mmgen.store.checkpoint_file import BEST, one_before, read_checkpoint
from mmgen.store.sharded_checkpoint import (
    MODELS,
    OPTIMIZER,
    PARTS,
    REST,
    check_hashes,
    check_parts,
    flatten,
    seals,
    unflatten,
)

_STEPS = ("training_step", "validation_step", "test_step")  # what reads weights and is no `forward`


def shard(module: L.LightningModule) -> None:
    """Spread a module over the devices of the run, block by block and then what is left; once, and only under `FSDP`.

    Every block of a backbone is gathered just before it is worked on; embeddings, conditioning and head are gathered
    for the whole step.
    """
    if module.device_mesh is None or isinstance(module, FSDPModule):
        return
    mesh, precision = module.device_mesh["data_parallel"], module.trainer.precision_plugin
    precision.convert_module(module)
    mixed = isinstance(precision, MixedPrecision)
    # Autocast would keep a bfloat16 copy of every matrix until the backward pass; gathered in bfloat16, they need none.
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    blocks = [block for each in module.modules() if isinstance(each, Transformer) for block in each.blocks]
    for block in dict.fromkeys(blocks):
        fully_shard(block, mesh=mesh, mp_policy=policy if mixed else MixedPrecisionPolicy())
    fully_shard(module, mesh=mesh)
    for name in _STEPS:
        register_fsdp_forward_method(module, name)


def is_sharded(module: torch.nn.Module) -> bool:
    """Whether any part of a module is spread over devices."""
    return any(isinstance(each, FSDPModule) for each in module.modules())


def reshard(module: L.LightningModule) -> None:
    """Drop gathered weights, so that parameters are the shares of this device and the next pass gathers them anew."""
    for each in module.modules():
        if isinstance(each, FSDPModule):
            each.reshard()


class FSDP(ModelParallelStrategy):
    """Weights, gradients, optimiser and average spread over all devices (FSDP2), each of which trains on its own
    samples: the same run as with `ddp`, in a share of the memory.

    Checkpoints, the last and the best, are folders with a file a process (`store.sharded_checkpoint`), and go on with
    any number of processes.
    Samples are drawn from an export, not while training: set samples.count to 0.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: L.Trainer) -> None:
        assert self.lightning_module is not None
        if not is_sharded(self.lightning_module):
            name = type(self.lightning_module).__name__
            raise UserError(f"{name} is trained whole on each device: set trainer.strategy to ddp")
        if any(getattr(each, "draws_samples", False) for each in trainer.callbacks):
            raise UserError("no device holds the whole model to draw samples from: set samples.count to 0")
        super().setup(trainer)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None) -> None:
        """Every process writes its share; the folder appears whole, and the one before it is kept beside it."""
        path = Path(self.broadcast(filepath))
        partial = path.with_name(f".{path.name}.partial")
        trees = {name: checkpoint.pop(name) for name in MODELS if name in checkpoint}
        for state in checkpoint.pop("optimizer_states", []):
            checkpoint[OPTIMIZER] = state["param_groups"]
            moments = {f"{name}/{kind}": each for name, kinds in state["state"].items() for kind, each in kinds.items()}
            trees[OPTIMIZER] = moments
        try:
            if self.is_global_zero:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            self.barrier()
            before = set(os.listdir(partial))
            self.barrier()
            writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
            dcp.save(flatten(trees), storage_writer=writer)
            if self.is_global_zero:
                torch.save(checkpoint, partial / REST)
            self.barrier()
            names = sorted(set(os.listdir(partial)) - before)
            parts: list[Any] = [None] * self.world_size
            dist.all_gather_object(parts, seals(partial, names[self.global_rank :: self.world_size]))
            if self.is_global_zero:
                (partial / PARTS).write_text(json.dumps({name: seal for part in parts for name, seal in part.items()}))
                _replace(partial, path, keep_previous=path.name != BEST)
            self.barrier()
        except BaseException:
            if self.is_global_zero:
                shutil.rmtree(partial, ignore_errors=True)
            raise

    def load_checkpoint(self, checkpoint_path: _PATH, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads this process's share of a folder, or of a checkpoint that one process wrote."""
        path = Path(self.broadcast(checkpoint_path))
        try:
            return self._load_parts(path) if path.is_dir() else self._load_whole(read_checkpoint(path, mmap=True))
        except Unsound as error:
            raise UserError(f"checkpoint {path} {error}; restore it, or start a new run") from None

    def remove_checkpoint(self, filepath: _PATH) -> None:
        path = Path(filepath)
        if self.is_global_zero:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _load_parts(self, path: Path) -> dict[str, Any]:
        names = check_parts(path)
        faults: list[Any] = [None] * self.world_size
        dist.all_gather_object(faults, _fault(path, sorted(names)[self.global_rank :: self.world_size]))
        if fault := next(filter(None, faults), None):
            raise Unsound(fault)
        checkpoint, reader = read_checkpoint(path / REST), HuggingFaceStorageReader(str(path))
        assert self.model is not None
        model: dict[str, Any] = dict(get_model_state_dict(self.model))
        stored = {name.partition("/")[0] for name in reader.read_metadata().state_dict_metadata}
        trees = {
            name: {key: torch.empty_like(each) for key, each in model.items()} for name in MODELS if name in stored
        }
        groups, training = checkpoint.pop(OPTIMIZER, None), bool(self.optimizers) and OPTIMIZER in stored
        if training:
            state: Any = get_optimizer_state_dict(self.model, self.optimizers[0])["state"]
            trees[OPTIMIZER] = {f"{name}/{kind}": each for name, kinds in state.items() for kind, each in kinds.items()}
        flat = flatten(trees)
        dcp.load(flat, storage_reader=reader)
        trees = unflatten(flat)
        set_model_state_dict(self.model, dict(trees.get("current_model_state", trees["state_dict"])))
        if training:
            moments: dict[str, dict[str, Tensor]] = {}
            for name, each in trees[OPTIMIZER].items():
                parameter, _, kind = name.rpartition("/")
                moments.setdefault(parameter, {})[kind] = each
            self._set_optimizer({"state": moments, "param_groups": groups}, StateDictOptions())
        return checkpoint | {name: trees[name] for name in MODELS if name in trees}

    def _load_whole(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The shares of a checkpoint of one process; each process reads from the file what it needs."""
        assert self.model is not None
        whole = StateDictOptions(full_state_dict=True)
        trees = {name: dict(checkpoint[name]) for name in MODELS if name in checkpoint}
        if "current_model_state" in trees:  # the average passes through the model to be cut
            set_model_state_dict(self.model, trees["state_dict"], options=whole)
            trees["state_dict"] = {name: each.clone() for name, each in get_model_state_dict(self.model).items()}
        set_model_state_dict(self.model, trees.get("current_model_state", trees["state_dict"]), options=whole)
        if self.optimizers and (states := checkpoint.get("optimizer_states")):
            self._set_optimizer(_named(states[0], self.model, self.optimizers[0]), whole)
        return checkpoint | trees

    def _set_optimizer(self, state: dict[str, Any], options: StateDictOptions) -> None:
        assert self.model is not None
        set_optimizer_state_dict(self.model, self.optimizers[0], state, options=options)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        assert self.model is not None
        return get_optimizer_state_dict(self.model, getattr(optimizer, "_optimizer", optimizer))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.model is not None
        return get_model_state_dict(self.model)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Nothing is left to do after `load_checkpoint`."""


def _fault(path: Path, names: list[str]) -> str | None:
    try:
        check_hashes(path, names)
    except Unsound as error:
        return str(error)
    return None


def _replace(partial: Path, path: Path, keep_previous: bool) -> None:
    """Put a new checkpoint in the place of an old one, which may stay beside it."""
    previous = one_before(path)
    if path.exists():
        if previous.is_dir():
            shutil.rmtree(previous)
        with suppress(FileNotFoundError):
            previous.unlink()
        path.rename(previous)
    partial.rename(path)
    if not keep_previous:
        shutil.rmtree(one_before(path), ignore_errors=True)


def _named(state: dict[str, Any], model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's state by the names of its parameters."""
    names = {id(each): name for name, each in model.named_parameters()}
    order = [names[id(each)] for group in optimizer.param_groups for each in group["params"]]
    groups = [group | {"params": [order[number] for number in group["params"]]} for group in state["param_groups"]]
    return {"state": {order[number]: each for number, each in state["state"].items()}, "param_groups": groups}

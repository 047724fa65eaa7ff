"""Weights and the model that they are for: compared before memory is taken for it, written to exports with a seal."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from mmgen.core.errors import UserError
from mmgen.core.shape_cache import passing
from mmgen.store.run_config import first_line

WEIGHTS = "model.safetensors"

_SPARE = 4
"""Models register more than they keep: what is tied, replaced, or made anew by a wrapper. So many times as much."""
_MOST_BUFFERS = 2**27
"""Numbers in tables that follow from the config (positions, windows), and that no file of weights holds."""

Built = TypeVar("Built")


class _TooLarge(Exception):
    """A config describes a much larger model than its weights."""


def build_for(
    state: Mapping[str, Tensor], build: Callable[[], Built], module_of: Callable[[Built], nn.Module], source: Path
) -> Built:
    """What `build` makes, with these weights in the module of it.

    It is first built without memory, and no further than the weights go, whatever its config asks for.

    Args:
        state: of the module.
        build: called twice.
        module_of: the module in what `build` makes.
        source: where the state is from, for errors.

    Raises:
        UserError: its config describes another model than the weights are of, or the weights are no numbers.
    """
    try:
        with _Bounded(state), passing(), torch.device("meta"), _Uninitialised():
            planned = build()
    except UserError as error:
        if isinstance(error.__cause__, _TooLarge):
            raise UserError(f"{source} is much smaller than the model that the config beside it describes") from None
        raise
    _require_same(module_of(planned), state, source)
    built = build()
    load_weights(module_of(built), state, source)
    return built


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Load a state dict, whole, of the right shapes and types, and finite. Raises UserError naming the first that is
    not.
    """
    _require_same(module, state, source)
    for name, value in state.items():
        if not value.isfinite().all():
            raise UserError(f"{source}: {name} holds NaN or infinity, so the training diverged; train with a lower lr")
    module.load_state_dict(state)


def _require_same(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    own = module.state_dict()
    another = "the config beside it describes another model"
    for wrong, text in ((own.keys() - state.keys(), "lacks"), (state.keys() - own.keys(), "has an unexpected")):
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise UserError(f"{source} {text} {min(wrong)}{more}: {another}")
    for name, value in own.items():
        given = state[name]
        if value.shape != given.shape:
            shapes = f"{tuple(given.shape)} in the file, {tuple(value.shape)} by the config"
            raise UserError(f"{source}: {name} is {shapes}; {another}")
        if given.dtype != value.dtype and not (given.is_floating_point() and value.is_floating_point()):
            raise UserError(f"{source}: {name} is {_type(given)} in the file, {_type(value)} by the config; {another}")


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


class _Uninitialised(TorchFunctionMode):
    """While it lasts, tensors without memory are neither filled nor scaled: they need no values, and for these torch
    would load its compiler, which takes seconds. All others are what they always are.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        is_filled = name.endswith("_") and not name.endswith("__")  # what works in place, torch.nn.init too
        is_scaled = name in ("mul", "__mul__", "__rmul__") and any(isinstance(each, int | float) for each in args)
        if is_filled or is_scaled:
            tensor = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
            if tensor is not None and tensor.is_meta:
                return tensor
        if func is torch.randn and kwargs.get("device") is None:
            func = torch.empty
        return func(*args, **kwargs)


class _Bounded:
    """While it lasts, modules cannot take more parameters than a state dict has numbers, by far."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.numbers = _SPARE * sum(value.numel() for value in state.values()) + 2**20
        self.parameters = _SPARE * len(state) + 1000
        self.buffers = _MOST_BUFFERS + self.numbers

    def __enter__(self) -> None:
        self._handles = [
            register_module_parameter_registration_hook(self._count_parameter),
            register_module_buffer_registration_hook(self._count_buffer),
        ]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _count_parameter(self, module: nn.Module, name: str, parameter: Tensor | None) -> None:
        if parameter is not None and not isinstance(parameter, nn.UninitializedParameter):
            self.numbers -= parameter.numel()
            self.parameters -= 1
        self._require_room()

    def _count_buffer(self, module: nn.Module, name: str, buffer: Tensor | None) -> None:
        self.buffers -= 0 if buffer is None else buffer.numel()
        self._require_room()

    def _require_room(self) -> None:
        if min(self.numbers, self.parameters, self.buffers) < 0:
            raise _TooLarge


def write_weights(path: Path, state: Mapping[str, Tensor], about: dict[str, Any], model: Any) -> None:
    """A file of safetensors, sealed with a hash of its tensors, of what is said `about` them (plain values), and of the
    section of the config that describes the `model`.
    """
    text = json.dumps(about)
    copies = {name: value.contiguous().clone() for name, value in state.items()}  # none share memory
    save_file(copies, path, metadata={"format": "pt", "mmgen": text, "sha256": _seal(copies, text, model)})


def read_weights(path: Path, model: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is said about the tensors of an export, and the tensors.

    Raises:
        UserError: the file is missing, damaged or of something else, or the model was changed since it was written.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
        text, seal = metadata["mmgen"], metadata["sha256"]
        about = dict(json.loads(text))
    except KeyError:
        raise UserError(f"{path} was not written by `mmgen export`") from None
    except (SafetensorError, OSError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{path} is truncated or corrupt ({first_line(error)}); export again") from None
    if seal != _seal(state, text, model):
        raise UserError(
            f"{path} is corrupt, or the model in the config beside it was changed: their hash differs from the one that"
            " they were exported with; export again"
        )
    return about, state


def _seal(state: Mapping[str, Tensor], about: str, model: Any) -> str:
    described = json.dumps([about, model], sort_keys=True, default=str)
    return hash_tensors(state, hashlib.sha256(described.encode(errors="backslashreplace")))


def hash_tensors(state: Mapping[str, Tensor], digest: Any = None) -> str:
    """64 hexadecimal digits of names, types, shapes and values: the same on any device."""
    digest = hashlib.sha256() if digest is None else digest
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return str(digest.hexdigest())

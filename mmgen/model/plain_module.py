"""Whether a module is exactly what its class says, so that its weights may be read instead of calling it."""

from torch import Tensor, nn
from torch.nn.modules import module as torch_module


def is_plain(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether calling a module, its children aside, does what the code of one of these classes says: no subclass,
    hooks, parametrisation, replaced `forward` or compilation, and no weights of a tensor subclass (as of torchao).
    """
    return type(module) in kinds and not is_hooked(module) and all(map(_is_plain_weight, own_tensors(module)))


def is_hooked(module: nn.Module) -> bool:
    """Whether calling the module runs anything besides the `forward` of its class."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or torch_module._global_forward_hooks
        or torch_module._global_forward_pre_hooks
        or module._compiled_call_impl
        or "forward" in vars(module)
    )


def own_tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers of the module itself, and tensors that stand where its parameters were."""
    held = *module._parameters.values(), *module._buffers.values(), *vars(module).values()
    return [each for each in held if isinstance(each, Tensor)]


def _is_plain_weight(weight: Tensor) -> bool:
    return type(weight) in (Tensor, nn.Parameter) and type(weight.data) is Tensor and weight.is_floating_point()

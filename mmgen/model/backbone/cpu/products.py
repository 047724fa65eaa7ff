"""Products of a few rows with a fixed matrix, whose time is that of reading the matrix: it is laid out for that."""

import copy
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmgen.model.plain_module import is_plain, own_tensors

FEW = 64  # rows up to which another order of the weights pays for itself in a few passes


class Product:
    """x W' + b of a fixed weight and bias, for any number of rows, without gradients.

    One row reads the weight by columns; a few rows take it in the order of oneDNN's kernels where torch has them; many
    rows take it as it is. The copies are made when they are first asked for.

    Args:
        weight: (out, in) float32 or float64, on a CPU. It must not change.
        bias: (out,) or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """x (rows, in), contiguous -> out (rows, out), written over."""
        rows = x.shape[0]
        if rows == 1:
            return self.of_row(x, 1.0, out)
        if rows <= FEW and self._packed is not None:
            return out.copy_(_product(x, self._packed, self.bias, "none", [], ""))
        weight = self._turned
        return torch.mm(x, weight, out=out) if self.bias is None else torch.addmm(self.bias, x, weight, out=out)

    def of_row(self, x: Tensor, factor: float, out: Tensor) -> Tensor:
        """factor x W' + b of one row (1, in) -> out (1, out), written over; the factor costs nothing."""
        if self.bias is None:
            return torch.addmm(out, x, self._columns, beta=0, alpha=factor, out=out)
        return torch.addmm(self.bias, x, self._columns, alpha=factor, out=out)

    def add(self, x: Tensor, to: Tensor) -> Tensor:
        """to (rows, out) + x W' + b; may write over `to`."""
        rows = x.shape[0]
        if 1 < rows <= FEW and self._packed is not None:
            return _sum(x, to, self._packed, self.bias, "add")
        to = to if self.bias is None else to.add_(self.bias)
        return to.addmm_(x, self._columns if rows == 1 else self._turned)

    @cached_property
    def _turned(self) -> Tensor:
        """(in, out), a view."""
        return self.weight.t()

    @cached_property
    def _columns(self) -> Tensor:
        return self.weight.t().contiguous()

    @cached_property
    def _packed(self) -> Tensor | None:
        """None where torch has no such kernels, or not for this weight."""
        if not (PACKS and self.weight.dtype == torch.float32 and self.weight.device.type == "cpu"):
            return None
        return _reorder(self.weight, 8)


class PackedLinear(nn.Module):
    """A linear map with its weights of now, for passes without gradients."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
        self._product = Product(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        out = x.new_empty(*x.shape[:-1], len(self.weight))
        self._product(x.reshape(-1, x.shape[-1]), out.view(-1, len(self.weight)))
        return out


AnyModule = TypeVar("AnyModule", bound=nn.Module)


def with_packed_linears(module: AnyModule) -> AnyModule:
    """The module with its own plain linear maps packed, for one sampling call on a CPU; all else is shared with it."""
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return module
    packed = {name: PackedLinear(each) for name, each in module.named_children() if _can_pack(each)}  # type: ignore[arg-type]
    other = copy.copy(module)
    other._modules = module._modules | packed
    return other


def _can_pack(module: nn.Module) -> bool:
    own = own_tensors(module)
    on_cpu = all(each.device.type == "cpu" and each.dtype in (torch.float32, torch.float64) for each in own)
    return is_plain(module, nn.Linear) and on_cpu


_mkldnn: Any = torch.ops.mkldnn


def _packs() -> bool:
    """Whether this torch multiplies with reordered weights, by operations of torch.compile that are not public."""
    weight, x = torch.eye(16), torch.arange(64.0).view(4, 16)
    try:
        packed = _mkldnn._reorder_linear_weight(weight, 4)
        plain = _mkldnn._linear_pointwise.default(x, packed, None, "none", [], "")
        added = _mkldnn._linear_pointwise.binary(x, x, packed, None, "add")
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return torch.equal(plain, x) and torch.equal(added, 2 * x)


PACKS = torch.backends.mkldnn.is_available() and _packs()
"""Whether oneDNN's order of weights can be had."""
if PACKS:
    _reorder = _mkldnn._reorder_linear_weight.default
    _product, _sum = _mkldnn._linear_pointwise.default, _mkldnn._linear_pointwise.binary

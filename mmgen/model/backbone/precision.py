"""The precision in which a backbone samples: fewer bytes a weight, where reading them is what a token costs."""

from typing import Literal, get_args

import torch

from mmgen.core.errors import UserError, require_one_of
from mmgen.model.backbone.transformer import Transformer

Precision = Literal["float32", "bfloat16", "int8"]


def lower(backbone: Transformer, precision: str) -> None:
    """Make a backbone compute in another precision, in place, for sampling only; its inputs and outputs keep theirs.

    Args:
        backbone: changed in place.
        precision: `float32` for as it is; `bfloat16`; or `int8`: weights of linear maps of 8 bits with a scale for each
            output (torchao), all else in bfloat16.

    Raises:
        UserError: there is no such precision, or torchao is not installed.
    """
    require_one_of("precision", precision, get_args(Precision))
    if precision == "float32":
        return
    backbone.to(torch.bfloat16)
    if precision == "int8":
        _quantise(backbone)


def _quantise(backbone: Transformer) -> None:
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
    except ModuleNotFoundError:
        raise UserError("weights of 8 bits need the package torchao: pip install 'mmgen[int8]'") from None
    quantize_(backbone.blocks, Int8WeightOnlyConfig(version=2))

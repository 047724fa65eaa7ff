"""A gradient for every parameter at every step, though it be zero.

Which parameters a batch needs may depend on its samples: a mask token where a member of a mixture masks, a table of a
condition where somebody has it. Processes that sum gradients have to agree on whose: DDP would wait for ever for one
that another process has no use for, and a search for such ones would miss what earlier accumulated batches gave them.
"""

import torch
from torch import Tensor, nn

from mmgen.model.backbone.block import Block


def outside_blocks(module: nn.Module) -> list[nn.Module]:
    """The parts that are in no block of a backbone; blocks are always used whole."""
    within = {id(part) for each in module.modules() if isinstance(each, Block) for part in each.modules()}
    return [each for each in module.modules() if id(each) not in within]


def zero_loss_over_parameters(parts: list[nn.Module]) -> Tensor:
    """A scalar 0 on which every trainable parameter of some modules, not of what is in them, has a bearing."""
    own = [each for part in parts for each in part.parameters(recurse=False) if each.requires_grad]
    return 0 * torch.stack([each.sum() for each in own]).sum()

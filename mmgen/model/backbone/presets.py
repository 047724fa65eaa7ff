"""Backbone sizes, from a laptop's to a node's. Parameter counts are of the blocks with their default options."""

from dataclasses import dataclass

from mmgen.core.errors import UserError, nearest


@dataclass(frozen=True)
class Preset:
    """Width, number of blocks and number of attention heads."""

    dim: int
    depth: int
    heads: int


PRESETS = {
    "tiny": Preset(128, 4, 4),  # about 1M, minutes on a CPU
    "small": Preset(384, 8, 6),  # about 20M
    "base": Preset(768, 12, 12),  # about 130M
    "large": Preset(1024, 24, 16),  # about 450M
    "xl": Preset(1152, 28, 16),  # about 670M, the shape of DiT-XL (Peebles & Xie 2023)
}


def preset(size: str) -> Preset:
    """The preset of that name; UserError naming the nearest one otherwise."""
    if size not in PRESETS:
        raise UserError(f"backbone size {size!r} is none of {', '.join(PRESETS)}{nearest(size, PRESETS)}")
    return PRESETS[size]

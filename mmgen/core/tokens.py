"""What a tokenizer yields (Tokens) and the static side of it (TokenSpec)."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require, require_one_of
from mmgen.core.modality import find_modality

Kind = Literal["categorical", "bits", "residual", "continuous"]
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class TokenSpec:
    """The shape and alphabet of the tokens of one modality.

    Args:
        kind: `categorical` (one codebook), `bits` (a binary code packed into one integer, most significant bit first),
            `residual` (several codebooks a position) or `continuous` (a vector a position).
        size: vocabulary size, number of bits, codebook size, or channels, by kind.
        grid: (T, H, W); 1 where an axis is absent, as in (T, 1, 1) of a sound.
        levels: codebooks a position; above 1 for `residual` only.
        modality: name of the modality, which says what time is counted in (`mmgen.core.modality`); empty for tokens of
            none, which have no time.
        rate: tokens per second, None where time is no axis.
        stride: frames or samples that one latent stands for: n are ceil(n / stride) latents. Where n does not divide,
            the remainder comes last and is filled up if the modality says so; otherwise it comes first, so that a clip
            of one frame is coded as a still is.
        first: frames of the first latent, 1 to `stride`, in clips of this grid; each later latent has `stride`. Always
            `stride` where the modality fills up the end.

    Raises:
        UserError: an unknown kind, bits that do not fit, an empty grid, or groups of frames that cannot be.
    """

    kind: Kind
    size: int
    grid: Grid
    levels: int = 1
    modality: str = ""
    rate: float | None = None
    stride: int = 1
    first: int = 1

    def __post_init__(self) -> None:
        require_one_of("token kind", self.kind, get_args(Kind))
        fits = self.kind != "bits" or 1 <= self.size <= 62
        require(fits, f"{self.size} bits do not fit an int64 token; choose 1 to 62")
        grid = f"token grid {self.grid} must be (T, H, W) with every axis at least 1"
        require(len(self.grid) == 3 and min(self.grid) >= 1, grid)
        first = f"first latent of {self.first} frames: must lie between 1 and the stride of {self.stride}"
        require(1 <= self.first <= self.stride, first)
        whole = f"{self.modality}: first must equal stride ({self.stride}), got {self.first}"
        require(not self.fills_end or self.first == self.stride, whole)
        object.__setattr__(self, "grid", tuple(int(n) for n in self.grid))

    @property
    def length(self) -> int:
        """Number of positions, N = T * H * W."""
        return math.prod(self.grid)

    @property
    def alphabet(self) -> int:
        """How many values one token of one level can take. Continuous tokens have no alphabet."""
        if self.kind == "continuous":
            raise ValueError("continuous tokens have no alphabet")
        return 2**self.size if self.kind == "bits" else self.size

    @property
    def bits_per_sample(self) -> float:
        """Raw size of one sample's tokens in bits; infinite for continuous tokens."""
        return math.inf if self.kind == "continuous" else self.length * self.levels * math.log2(self.alphabet)

    @property
    def amount(self) -> str:
        """The raw size of one sample in words: `392 bits`, or `196 numbers` where tokens are continuous."""
        if self.kind == "continuous":
            return f"{self.length * self.size:,} numbers"
        return f"{self.bits_per_sample:,g} bits"

    @property
    def kbps(self) -> float:
        """Raw rate in 1000 bits a second: rate x levels x log2(alphabet); infinite for continuous tokens."""
        if self.rate is None:
            raise ValueError("tokens without a rate take no time")
        return math.inf if self.kind == "continuous" else self.rate * self.levels * math.log2(self.alphabet) / 1000

    @property
    def unit(self) -> str | None:
        """What a clip's length is counted in, `frames` or `samples`; None where time is no axis."""
        modality = find_modality(self.modality)
        return None if modality is None else modality.unit

    @property
    def fills_end(self) -> bool:
        """Whether the remainder of what is no whole number of latents comes last."""
        modality = find_modality(self.modality)
        return modality is not None and modality.fills_end

    def latents(self, frames: int) -> int:
        """Latents along time of a clip of so many frames or samples, ceil(frames / stride). UserError for none."""
        if frames < 1:
            raise UserError(f"a clip has at least 1 {(self.unit or 'frames')[:-1]}, got {frames}")
        return math.ceil(frames / self.stride)

    def frames(self, latents: int) -> int:
        """Frames or samples of so many latents along time, first + stride (latents - 1). Raises UserError for none."""
        if latents < 1:
            raise UserError(f"a clip has at least 1 latent along time, got {latents}")
        return self.first + self.stride * (latents - 1)

    def with_frames(self, frames: int) -> "TokenSpec":
        """The same spec for clips of so many frames or samples. Raises UserError for none, and without time."""
        if self.unit is None:
            raise UserError(f"tokens of modality {self.modality!r} have no time, so their length cannot change")
        first = self.stride if self.fills_end else (frames - 1) % self.stride + 1
        return replace(self, grid=(self.latents(frames), *self.grid[1:]), first=first)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON and checkpoints."""
        return asdict(self) | {"grid": list(self.grid)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "TokenSpec":
        """Inverse of `to_dict`; what an older dict does not say has its default."""
        return cls(**(plain | {"grid": tuple(plain["grid"])}))


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of token grids.

    Args:
        values: (B, N) int64 for one codebook or packed bits, (B, N, Q) int64 for residual codes, (B, N, C) float for
            latents.
        grid: (T, H, W) with N = T * H * W.
        lengths: (B,) int64 number of real positions a row, the rest being padding; None when every row is full.
    """

    values: Tensor
    grid: Grid
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        if self.values.shape[1] != math.prod(self.grid):
            raise UserError(f"{self.values.shape[1]} token positions do not fill the grid {self.grid}")

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: Any) -> "Tokens":
        """The same tokens on another device."""
        lengths = self.lengths if self.lengths is None else self.lengths.to(device)
        return Tokens(self.values.to(device), self.grid, lengths)

    def rows(self, index: Tensor) -> "Tokens":
        """Some rows; index (b,) int64 or (B,) bool."""
        return Tokens(self.values[index], self.grid, None if self.lengths is None else self.lengths[index])

    def reorder(self, order: Tensor) -> "Tokens":
        """Positions in another order, (N,) or (B, N) int64. Raises UserError for rows of different lengths."""
        if self.lengths is not None:
            raise UserError("rows of different lengths are in raster order only: split them into runs or frames")
        return Tokens(take_positions(self.values, order), self.grid)


def take_positions(x: Tensor, order: Tensor) -> Tensor:
    """(B, N, ...) in another order of N positions, (N,) int64 for all rows or (B, N)."""
    if order.dim() == 1:
        return x[:, order]
    return x[torch.arange(len(order), device=order.device)[:, None], order]


def pack_bits(bits: Tensor) -> Tensor:
    """The integer that stands for a binary code: (..., L) bool, L <= 62 -> (...) int64, most significant bit first."""
    places = torch.arange(bits.shape[-1] - 1, -1, -1, device=bits.device)
    return (bits.long() << places).sum(-1)


def unpack_bits(indices: Tensor, bits: int) -> Tensor:
    """(...) int64 -> (..., bits) bool. Inverse of `pack_bits`."""
    places = torch.arange(bits - 1, -1, -1, device=indices.device)
    return (indices[..., None] >> places) & 1 == 1

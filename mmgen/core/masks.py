"""The catalogue of masks: a short function each, its sentence first, written with Layout fields alone.

A new mask is one more function here; `mmgen masks`, the list and the law tests find it in CATALOGUE. Two rules need no
word in a function: positions of different documents never meet (the machinery sees to that), and PREFIX is visible to
all and sees PREFIX alone (`_with_prefix`, so that a condition's keys and values do not depend on what is generated).
`own_prefix` lifts the second rule for masks whose own words already say what a prefix does.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError, nearest
from mmgen.core.layout import Layout, Role, clean, grid_layout, noisy, pack
from mmgen.core.layout import prefix as condition
from mmgen.core.mask import Mask, Sees, by_layer

Position = Any  # one position, or many at once: its attributes are the fields of Layout; position has t, h and w
Example = Callable[[], Layout | tuple[Layout, Layout]]

CATALOGUE: dict[str, "Mask | Family"] = {}
_EXAMPLES: dict[str, Example] = {}


@dataclass(frozen=True, eq=False)
class Family:
    """Masks that differ by one number. Call it with the number, or without for the default."""

    name: str  # as in the catalogue
    sees: Callable[[Position, Position, Any], Tensor]  # predicate of a query, a key and the number
    source: str  # where it comes from
    sentence: str  # what it says, in one sentence
    option: str  # what the number is called; one called `leak` is the share that hidden keys keep
    default: int | float  # its value when none is chosen; its type is the type of the number
    own_prefix: bool  # whether `sees` itself says what a prefix does

    def __call__(self, value: int | float | None = None) -> Mask:
        """The member with this number; the same object every time, so that what is cached for it is found again."""
        return _member(self, self.default if value is None else value)

    def parse(self, text: str) -> Mask:
        """The member whose number a person wrote."""
        try:
            return self(type(self.default)(text))
        except ValueError:
            kind = "a whole number" if isinstance(self.default, int) else "a number"
            raise UserError(f"mask {self.name!r} takes {kind} as its {self.option}, got {text!r}") from None


@lru_cache(maxsize=1024)
def _member(family: Family, value: int | float) -> Mask:
    name, leak = f"{family.name}({value:g})", float(value) if family.option == "leak" else 0.0
    if family.option != "leak" and value < 1:
        raise UserError(f"mask {name!r}: its {family.option} must be at least 1")

    def sees(q: Position, k: Position) -> Tensor:
        return family.sees(q, k, value)

    return Mask(name, sees if family.own_prefix else _with_prefix(sees), family.source, family.sentence, leak)


def _with_prefix(sees: Sees) -> Sees:
    def rule(q: Position, k: Position) -> Tensor:
        return (k.role == Role.PREFIX) | ((q.role != Role.PREFIX) & sees(q, k))

    return rule


def _sentence(function: Callable[..., Tensor]) -> str:
    """The first paragraph of the docstring, on one line and without backticks."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].replace("`", "").split())


def mask(source: str, example: Example | None = None, own_prefix: bool = False) -> Callable[..., Any]:
    """Put a predicate into the catalogue under its function's name: a `Mask`, or with a number as third argument, whose
    default it states, a `Family`.

    Args:
        source: who brought it: the systems or papers.
        example: a layout (or one of the queries and one of the keys) that shows it; a prefix and blocks by default.
        own_prefix: the predicate itself says what a prefix sees and who sees it.
    """

    def enter(sees: Callable[..., Tensor]) -> Any:
        name, options = sees.__name__, list(inspect.signature(sees).parameters.values())[2:]
        entry: Mask | Family
        if options:
            option, default = options[0].name, options[0].default
            entry = Family(name, sees, source, _sentence(sees), option, default, own_prefix)
        else:
            entry = Mask(name, sees if own_prefix else _with_prefix(sees), source, _sentence(sees))
        CATALOGUE[name], _EXAMPLES[name] = entry, example or _prefix_and_blocks
        return entry

    return enter


MaskName = str | list[str]
"""A mask of the catalogue, or several that repeat over the blocks of a backbone."""


def get_mask(name: MaskName) -> Mask:
    """The mask of that name, with its number where it takes one, as in `sliding_window(8)`. Several names, in a list or
    separated by commas, are the masks of the first block, the second and so on, which repeat: `[frame_local,
    temporal_causal]` is factorised attention.

    Raises:
        UserError: for an unknown name (with the nearest known one), or an option that the mask cannot take.
    """
    names = name.split(",") if isinstance(name, str) else name
    return _get_mask(*(each.strip() for each in names))


@lru_cache(maxsize=1024)
def _get_mask(name: str, *further: str) -> Mask:
    if further:
        return by_layer(*map(get_mask, (name, *further)))
    word, option = _split(name)
    entry = CATALOGUE[word]
    if isinstance(entry, Family):
        return entry.parse(option) if option else entry()
    if option is not None:
        raise UserError(f"mask {word!r} takes no option, got {name!r}")
    return entry


def example(name: str) -> tuple[Layout, Layout]:
    """Layouts of the queries and of the keys that show what a mask says: for its picture and its tests."""
    layouts = _EXAMPLES[_split(name.split(",")[0])[0]]()
    return layouts if isinstance(layouts, tuple) else (layouts, layouts)


def _split(name: str) -> tuple[str, str | None]:
    """`sliding_window(8)` -> its name in the catalogue and `8`; None where there are no parentheses."""
    parts = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", name)
    word = parts[1] if parts else name
    if not parts or word not in CATALOGUE:
        raise UserError(f"there is no mask {word!r}{nearest(word, CATALOGUE)} (mmgen masks draws them all)")
    return word, parts[2]


# Layouts for the examples.


def _prefix_and_blocks() -> Layout:
    return condition(1) + grid_layout((1, 1, 10), block_size=3)


def _prefix_and_row() -> Layout:
    return condition(3) + grid_layout((1, 1, 8))


def _row() -> Layout:
    return grid_layout((1, 1, 11))


def _image() -> Layout:
    return condition(1) + grid_layout((1, 3, 3))


def _video() -> Layout:
    return condition(1) + grid_layout((3, 2, 2))


def _in_order(*layouts: Layout) -> Layout:
    """The layouts in one row, with ranks that run on from one to the next."""
    row = layouts[0]
    for layout in layouts[1:]:
        row = row + layout
    return row.but(rank=torch.arange(row.length)[None])


def _text(length: int) -> Layout:
    return grid_layout((1, 1, length)).but(frame=-1)


# The masks.


@mask("BERT (Devlin et al. 2019); MaskGIT (Chang et al. 2022); MAR, MD4, MDM-Prime, MDT", _image, own_prefix=True)
def bidirectional(q: Position, k: Position) -> Tensor:
    """Everybody sees everybody, prefixes included."""
    return torch.ones_like(q.role | k.role, dtype=torch.bool)


@mask(
    "Decoder-only transformers (Vaswani et al. 2017); LlamaGen, GIVT, D-AR, VoiceCraft, CM3",
    _prefix_and_row,
    own_prefix=True,
)
def causal(q: Position, k: Position) -> Tensor:
    """A query sees itself and whatever is generated before it; a prefix is read in its own order."""
    return k.rank <= q.rank


@mask("BSQ-ViT (Zhao et al. 2024); diffusion forcing (Chen et al. 2024); CausNVS, ARFlow")
def block_causal(q: Position, k: Position) -> Tensor:
    """A query sees its own block and all earlier ones."""
    return k.block <= q.block


@mask(
    "TC-LLaVA (Gao et al. 2024); MAGI at inference (Zhou et al. 2025)",
    lambda: _in_order(_text(2), grid_layout((3, 1, 3)), _text(2)),
)
def frame_wise(q: Position, k: Position) -> Tensor:
    """A query sees whatever comes before it, and all of its own frame; text (frame -1) is plainly causal."""
    return (k.rank <= q.rank) | ((k.frame == q.frame) & (q.frame >= 0))


@mask("Factorised space-time attention (TimeSformer, Bertasius et al. 2021); CausNVS inside a view", _video)
def frame_local(q: Position, k: Position) -> Tensor:
    """A query sees its own frame and no other."""
    return k.frame == q.frame


def _two_levels() -> Layout:
    row = grid_layout((7, 1, 1))
    return condition(1) + row + row.but(level=1)


@mask("MAGNeT (Ziv et al. 2024)", _two_levels)
def level_local(q: Position, k: Position, reach: int = 5) -> Tensor:
    """A query of the first codebook sees everything; one of a deeper level, what is at most `reach` away in time."""
    return (q.level == 0) | ((q.position.t - k.position.t).abs() <= reach)


@mask("Make-Your-Video (Xing et al. 2023)", lambda: grid_layout((3, 2, 2)))
def temporal_causal(q: Position, k: Position) -> Tensor:
    """A query sees its own place in this frame and in all earlier ones."""
    return (k.position.h == q.position.h) & (k.position.w == q.position.w) & (k.frame <= q.frame)


def _two_streams(layout: Layout) -> Layout:
    return condition(1) + clean(layout) + noisy(layout)


@mask(
    "ACDiT (Hu et al. 2024); BD3-LM (Arriola et al. 2025); MAGI (Zhou et al. 2025); CausalFusion (Deng et al. 2024)",
    lambda: _two_streams(grid_layout((1, 1, 7), block_size=2)),
)
def skip_causal(q: Position, k: Position) -> Tensor:
    """Clean sees clean blocks up to its own; noisy sees earlier clean blocks and its own noisy block."""
    past, same = k.block < q.block, k.block == q.block
    context = (k.role == Role.CLEAN) & (past | (same & (q.role == Role.CLEAN)))
    return context | (same & (q.role == Role.NOISY) & (k.role == Role.NOISY))


@mask(
    "ACDiT (Hu et al. 2024), whose clean tokens see no class",
    lambda: _two_streams(grid_layout((1, 1, 7), block_size=2)),
    own_prefix=True,
)
def unconditional_history(q: Position, k: Position) -> Tensor:
    """As skip_causal, but clean positions see no prefix: what is cached of a history depends on no condition."""
    return skip_causal.sees(q, k) & ~((q.role == Role.CLEAN) & (k.role == Role.PREFIX))


@mask(
    "XLNet's two streams (Yang et al. 2019); any-order autoregression, random-order MAR",
    lambda: _two_streams(grid_layout((1, 1, 6)).but(rank=torch.tensor([[3, 0, 5, 1, 4, 2]]))),
)
def any_order(q: Position, k: Position) -> Tensor:
    """Clean sees clean ranks up to its own; noisy, which asks for a token, sees clean ranks before it, and itself."""
    content = (k.role == Role.CLEAN) & ((k.rank < q.rank) | ((k.rank == q.rank) & (q.role == Role.CLEAN)))
    return content | ((q.role == Role.NOISY) & (k.role == Role.NOISY) & (k.rank == q.rank))


def _some_hidden() -> Layout:
    row = grid_layout((1, 1, 9)).but(rank=torch.tensor([[4, 1, 7, 0, 8, 3, 6, 2, 5]]))
    return condition(1) + row.but(role=torch.tensor([[2, 1, 2, 2, 1, 2, 1, 2, 2]]))


@mask("BAD (Hosseyni et al. 2024)", _some_hidden)
def permuted(q: Position, k: Position) -> Tensor:
    """Clean sees all that is clean; noisy sees it too, and those noisy ones that are generated with it or after it."""
    return (k.role == Role.CLEAN) | ((q.role == Role.NOISY) & (k.rank >= q.rank))


@mask("Prefix-LM (UniLM, Dong et al. 2019; T5, Raffel et al. 2020); s2s-ft", _prefix_and_row)
def prefix(q: Position, k: Position) -> Tensor:
    """The prefix sees all of itself; the rest sees the prefix and whatever is generated before."""
    return k.rank <= q.rank


@mask(
    "GPT-BERT (Charpentier and Samuel 2024); intra-document masking (Zhao et al. 2024)",
    lambda: pack([grid_layout((1, 1, length)) for length in (4, 2, 5)]),
    own_prefix=True,
)
def document(q: Position, k: Position) -> Tensor:
    """A query sees its own document, before and after it.

    Every mask stays inside documents; this one says nothing else. `causal` on packed samples is intra-document causal.
    """
    return k.document == q.document


@mask("Longformer (Beltagy et al. 2020); Mistral (Jiang et al. 2023); CausNVS at inference", _prefix_and_blocks)
def sliding_window(q: Position, k: Position, width: int = 4) -> Tensor:
    """A query sees itself and the last few before it, `width` in all; the prefix stays visible."""
    return (k.rank <= q.rank) & (q.rank - k.rank < width)


@mask("Windowed attention over frames: MAGI (Zhou et al. 2025); CausNVS at inference", _prefix_and_blocks)
def block_window(q: Position, k: Position, width: int = 2) -> Tensor:
    """A query sees its own block and those just before it, `width` blocks in all; the prefix stays visible."""
    return (k.block <= q.block) & (q.block - k.block < width)


@mask("StreamingLLM (Xiao et al. 2024), by blocks", _prefix_and_blocks)
def block_sink(q: Position, k: Position, count: int = 1) -> Tensor:
    """A query sees its own block and the first `count` blocks of the row, as far as they are not later."""
    return (k.block == q.block) | ((k.block <= q.block) & (k.block < count))


def _conditions() -> Layout:
    text, image = condition(2), grid_layout((1, 2, 2))
    return text + noisy(image) + image.but(segment=1) + image.slice(0, 3).but(segment=2)


@mask("EasyControl (Zhang et al. 2025)", _conditions, own_prefix=True)
def condition_isolated(q: Position, k: Position) -> Tensor:
    """Main positions (segment 0: text and image) see everything; a condition (segment 1, 2, ...) sees only itself."""
    return (q.segment == 0) | (k.segment == q.segment)


def _labels() -> Layout:
    labels = [grid_layout((1, 1, length)).but(segment=number) for number, length in enumerate((3, 2, 4), start=1)]
    return condition(3) + labels[0] + labels[1] + labels[2]


@mask("Object recognition as next token prediction (Yue et al. 2024)", _labels)
def label_independent(q: Position, k: Position) -> Tensor:
    """Labels (segments) share a prefix and never see each other; inside a label it is causal."""
    return (k.segment == q.segment) & (k.rank <= q.rank)


@mask("MTLA (Deng and Woodland 2025)", _row)
def stride_aware(q: Position, k: Position, stride: int = 3) -> Tensor:
    """A query sees itself and the last position of every finished chunk of `stride`, into which the chunk is merged."""
    return (k.rank == q.rank) | ((k.rank <= q.rank) & ((k.rank + 1) % stride == 0))


def _latents() -> tuple[Layout, Layout]:
    latents, frames = grid_layout((1, 1, 9)), grid_layout((4, 1, 3))
    return latents.but(frame=latents.rank * 4 // 9), frames


@mask("Video-CCAM (Fei et al. 2024)", _latents)
def cross_causal(q: Position, k: Position) -> Tensor:
    """A latent that stands at a frame sees that frame and all earlier ones."""
    return k.frame <= q.frame


def _turns() -> Layout:
    turns = [(Role.PREFIX, 3), (Role.CLEAN, 3), (Role.PREFIX, 2), (Role.CLEAN, 3)]
    rows = [grid_layout((1, 1, length)).but(role=role, segment=number) for number, (role, length) in enumerate(turns)]
    return _in_order(*rows)


@mask("MAS (Katz et al. 2024)", _turns, own_prefix=True)
def segment(q: Position, k: Position) -> Tensor:
    """A query sees whatever comes before it; inside a prompt turn (role PREFIX) it sees the whole turn."""
    return (k.rank <= q.rank) | ((k.segment == q.segment) & (q.role == Role.PREFIX))


@mask("iLLaMA (Wang et al. 2024), as a bias before the softmax, so that rows stay normalised", _row, own_prefix=True)
def soft(q: Position, k: Position, leak: float = 0.1) -> Tensor:
    """Causal, but what comes later keeps a share `leak` of its weight, to be brought down to 0 while training."""
    return k.rank <= q.rank

"""Pictures of masks: a labelled card each, and one sheet of all. Pillow alone, so that they are quick."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageOps
from torch import Tensor

from mmgen.core.layout import Layout, Role
from mmgen.core.mask import Mask
from mmgen.core.masks import CATALOGUE, example, get_mask
from mmgen.media.images import load_font, wrap_text

INK, FADED, PAPER, DESK, LINE, HIDDEN = "#1f2328", "#626c77", "#ffffff", "#f4f5f6", "#dde1e5", "#edeff1"
ROLES = {Role.PREFIX: ("PREFIX", "#eeb02c"), Role.CLEAN: ("CLEAN", "#2a78c2"), Role.NOISY: ("NOISY", "#e2583b")}
PALE = 0.28  # strength of a hidden key's colour where it leaks
BARS = ("#d3dae1", "#e9edf0")  # neighbouring runs of one value along an axis
MATRIX = 206  # side of a small mask's matrix in points; large ones grow so that a cell keeps CELL points
CELL = 2
WIDTH, MARGIN = 292, 18
GUIDE = (  # text, size in points, ink, heavy
    ("The masks of mmgen", 30, INK, True),
    ("""Who may see whom, said in one place: a predicate of two positions, sees(query, key), written with the fields of
        their layout. The same line is the dense mask, FlexAttention's block mask, the cached row of a sampler, and the
        picture you look at.""", 16, INK, False),
    ("""Each row of a matrix is a query, each column a key. A coloured cell is a pair that may meet, in the colour of
        the key's role. The bars along the axes are the fields that the mask reads: rank is the order of generation,
        block the unit that is generated at once; -1 means none. Documents never meet.""", 16, INK, False),
    ("mmgen masks NAME --out mask.png draws one; each is a function in mmgen/core/masks.py.", 13.5, FADED, False),
)  # fmt: skip


def mask_image(mask: Mask, queries: Layout, keys: Layout | None = None, scale: float = 2) -> Image.Image:
    """A card: name, sentence, matrix (queries down, keys across) with the fields that it reads, source and legend.

    Args:
        mask: any mask, composed ones too.
        queries: its queries; row 0 is drawn where rows differ.
        keys: its keys; the queries by default.
        scale: pixels a point; 2 is sharp on a dense screen.
    """
    parts, width = _parts(mask, queries, queries if keys is None else keys, scale)
    return _card([*parts, _legend(width, bool(mask.leak), scale)], [0, 0, 0, 0], width, scale)


def catalogue_sheet(columns: int = 4, scale: float = 1.25) -> Image.Image:
    """Every mask of the catalogue on its example, after a card that says how to read them."""
    cards = [_parts(get_mask(name), *example(name), scale) for name in CATALOGUE]
    gap, width = round(MARGIN * scale), round(WIDTH * scale) + 2 * round(MARGIN * scale)
    # The first card is two columns wide.
    rows = [cards[: columns - 2], *(cards[i : i + columns] for i in range(columns - 2, len(cards), columns))]
    strips = []
    for number, row in enumerate(rows):
        heights = [max(part.height for part in column) for column in zip(*(parts for parts, _ in row))]
        drawn = [_card(parts, heights, width, scale) for parts, width in row]
        if number == 0:
            drawn.insert(0, _guide(2 * width + gap, drawn[0].height, scale))
        strips.append(_joined(drawn, gap, DESK, across=True))
    return ImageOps.expand(_joined(strips, gap, DESK), gap, DESK)


def _parts(mask: Mask, queries: Layout, keys: Layout, scale: float) -> tuple[list[Image.Image], int]:
    """Head, matrix and foot of a card, and its width."""
    matrix, share = _matrix(mask, queries, keys, scale), float(mask.dense(queries, keys)[0, 0].double().mean())
    width = max(round(WIDTH * scale), matrix.width)
    title = _paragraph(mask.name, 19, INK, width, scale, heavy=True)
    head = _joined([title, _paragraph(mask.sentence, 12.5, INK, width, scale)], round(5 * scale))
    facts = f"{share:.0%} of pairs visible. {mask.source}" if mask.source else f"{share:.0%} of pairs visible."
    return [head, matrix, _paragraph(facts, 10.5, FADED, width, scale)], width


# The matrix.


def cell_colours(mask: Mask, queries: Layout, keys: Layout) -> np.ndarray:
    """(Nq, Nk, 3) RGB of each pair: the key's role where visible, pale where it only leaks, grey where hidden."""
    visible = mask.dense(queries, keys)[0, 0].cpu().numpy()
    together = (queries.document[0, :, None] == keys.document[0, None, :]).cpu().numpy()
    strength = np.where(visible, 1.0, PALE if mask.leak else 0.0) * together
    colours = np.array([_rgb(ROLES[role][1]) for role in sorted(ROLES)])[keys.role[0].cpu().numpy()]
    return _rgb(HIDDEN) + strength[..., None] * (colours[None] - _rgb(HIDDEN))


def _matrix(mask: Mask, queries: Layout, keys: Layout, scale: float) -> Image.Image:
    """The cells between the strips of their fields."""
    down, across = queries.length, keys.length
    cell = max(round(CELL * scale), min(round(MATRIX * scale) // max(down, across), round(20 * scale)))
    cells = cell_colours(mask, queries, keys)
    fields = _fields_read(mask, queries, keys)
    strips = [(name, _field(queries, name), _field(keys, name)) for name in fields if name != "role"]
    thick, thin, gap = round(15 * scale), round(6 * scale), round(2 * scale)
    label = round(14 * scale)  # the words "queries" and "keys"
    corner = label + len(strips) * (thick + gap) + thin + 2 * gap
    small = load_font(9 * scale)
    indent = max([0, *(round(small.getlength(name)) + thin + 2 * gap - corner for name, *_ in strips)])
    left = corner + indent  # names of fields may be longer than the corner is wide
    image = Image.new("RGB", (left + across * cell, corner + down * cell), PAPER)
    image.paste(_tiled(cells, cell, scale), (left, corner))

    draw = ImageDraw.Draw(image)
    words = load_font(10 * scale)
    draw.text((left + across * cell / 2, label / 2), "keys", FADED, words, anchor="mm")
    sideways = Image.new("RGB", (down * cell, label), PAPER)
    ImageDraw.Draw(sideways).text((down * cell / 2, label / 2), "queries", FADED, words, anchor="mm")
    image.paste(sideways.rotate(90, expand=True), (indent, corner))
    at = label
    for name, of_queries, of_keys in strips:
        image.paste(_strip(of_keys, cell, thick, scale), (left, at))
        image.paste(_strip(of_queries, cell, thick, scale, upright=True), (indent + at, corner))
        draw.text((left - 2 * gap - thin, at + thick / 2), name, FADED, small, anchor="rm")
        at += thick + gap
    for layout, upright in ((keys, False), (queries, True)):
        roles = np.array([_rgb(ROLES[int(role)][1]) for role in layout.role[0]])
        bar = _tiled(roles[None], cell, scale).resize((cell * layout.length, thin))
        if upright:
            image.paste(bar.transpose(Image.Transpose.TRANSPOSE), (indent + at, corner))
        else:
            image.paste(bar, (left, at))
    return image


def _tiled(cells: np.ndarray, cell: int, scale: float) -> Image.Image:
    """(rows, columns, 3) colours as squares of `cell` pixels with rounded corners and a seam between them."""
    seam = 0 if cell < 5 * scale else max(1, round(scale * 0.75))
    times = 8
    tile = Image.new("L", (cell * times, cell * times), 0)
    side = (cell - seam) * times - 1
    ImageDraw.Draw(tile).rounded_rectangle((0, 0, side, side), radius=0 if not seam else 0.14 * side, fill=255)
    cover = np.asarray(tile.resize((cell, cell), Image.Resampling.BOX), dtype=float)[None, :, None, :, None] / 255
    spread = np.broadcast_to(cells[:, None, :, None, :], (cells.shape[0], cell, cells.shape[1], cell, 3))
    pixels = _rgb(PAPER) + cover * (spread - _rgb(PAPER))
    return Image.fromarray(pixels.reshape(cells.shape[0] * cell, -1, 3).round().astype(np.uint8))


def _strip(values: list[int], cell: int, thick: int, scale: float, upright: bool = False) -> Image.Image:
    """One field along an axis: a bar for each run of equal values, with the value in it where it fits. -1 is none."""
    size = (thick, len(values) * cell) if upright else (len(values) * cell, thick)
    image = Image.new("RGB", size, PAPER)
    draw, font, seam = ImageDraw.Draw(image), load_font(9 * scale), max(1, round(scale * 0.75))
    start = 0
    for number, end in enumerate(_ends(values)):
        low, high = start * cell, end * cell - 1 - seam
        box = (0, low, thick - 1, high) if upright else (low, 0, high, thick - 1)
        draw.rounded_rectangle(box, radius=2 * scale, fill=BARS[number % 2])
        text = str(values[start])
        room = (thick, high - low) if upright else (high - low, thick)
        if font.getlength(text) <= room[0] + 1 and 8 * scale <= room[1] + 2:
            middle = (low + high) / 2 + 0.5
            draw.text((thick / 2, middle) if upright else (middle, thick / 2), text, INK, font, anchor="mm")
        start = end
    return image


def _ends(values: list[int]) -> list[int]:
    return [i for i in range(1, len(values)) if values[i] != values[i - 1]] + [len(values)]


class _Witness:
    """A layout that notes which of its fields a predicate reads."""

    def __init__(self, fields: Any, shape: tuple[int, int], names: dict[str, None]) -> None:
        self._fields, self._shape, self._names = fields, shape, names

    def __getattr__(self, name: str) -> Any:
        field = getattr(self._fields, name)
        if name == "position":
            return _Witness(
                SimpleNamespace(**dict(zip("thw", field.unbind(-1), strict=True))), self._shape, self._names
            )
        self._names[name] = None
        return field[0].view(self._shape)


def _fields_read(mask: Mask, queries: Layout, keys: Layout) -> list[str]:
    """Names of the fields that the predicate reads, and of `document` where there are several."""
    names: dict[str, None] = {}
    mask.sees(_Witness(queries, (-1, 1), names), _Witness(keys, (1, -1), names))
    if len(keys.document[0].unique()) > 1:
        names["document"] = None
    return list(names)


def _field(layout: Layout, name: str) -> list[int]:
    values: Tensor = layout.position[..., "thw".index(name)] if name in "thw" else getattr(layout, name)
    return values[0].tolist()


# Words and paper.


def _guide(width: int, height: int, scale: float) -> Image.Image:
    """The sheet's first card: how to read the others."""
    inner = width - 2 * round(MARGIN * scale)
    paragraphs = [_paragraph(text, size, ink, inner, scale, heavy) for text, size, ink, heavy in GUIDE]
    legend = _legend(inner, leak=True, scale=scale * 1.4)
    column = _joined([*paragraphs[:-1], legend, paragraphs[-1]], round(17 * scale))
    return _rounded(column, (width, height), scale)


def _legend(width: int, leak: bool, scale: float) -> Image.Image:
    entries = [*(ROLES[role] for role in sorted(ROLES)), ("hidden", HIDDEN)]
    if leak:
        blue = _rgb(HIDDEN) + PALE * (_rgb(ROLES[Role.CLEAN][1]) - _rgb(HIDDEN))
        entries.append(("leaks", "#{:02x}{:02x}{:02x}".format(*(round(part) for part in blue))))
    image = Image.new("RGB", (width, round(14 * scale)), PAPER)
    draw, font, side, x = ImageDraw.Draw(image), load_font(10.5 * scale), round(10 * scale), 0.0
    for word, colour in entries:
        swatch = _tiled(_rgb(colour)[None, None], side, scale)
        image.paste(swatch, (round(x), (image.height - side) // 2))
        draw.text((x + side + 4 * scale, image.height / 2), word, FADED, font, anchor="lm")
        x += side + font.getlength(word) + 14 * scale
    return image


def _paragraph(text: str, size: float, ink: str, width: int, scale: float, heavy: bool = False) -> Image.Image:
    """Text in lines no wider than `width` pixels."""
    font, leading = load_font(size * scale), round(size * 1.3 * scale)
    lines = wrap_text(text, font, width)
    image = Image.new("RGB", (width, leading * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        for shift in (0, 0.5 * scale) if heavy else (0,):  # the built-in typeface has one weight
            draw.text((shift, leading * number), line, ink, font)
    return image


def _card(parts: list[Image.Image], heights: list[int], width: int, scale: float) -> Image.Image:
    """Head, matrix and foot under each other, each at least as high as its neighbours on the sheet."""
    boxed = []
    for number, (part, height) in enumerate(zip(parts, heights)):
        box = Image.new("RGB", (width, max(part.height, height)), PAPER)
        centred = (width - part.width) // 2, (box.height - part.height) // 2
        box.paste(part, centred if number == 1 else (0, 0))
        boxed.append(box)
    column = _joined(boxed, round(11 * scale))
    margin = round(MARGIN * scale)
    return _rounded(column, (width + 2 * margin, column.height + 2 * margin), scale)


def _rounded(content: Image.Image, size: tuple[int, int], scale: float) -> Image.Image:
    """Content on a card of that size."""
    margin, radius, times = round(MARGIN * scale), round(9 * scale), 4
    width = max(size[0], content.width + 2 * margin)
    height = max(size[1], content.height + 2 * margin)
    # Only the corners need smoothing: a small round card at several times its size gives all four.
    side = 2 * radius * times
    small, line = Image.new("RGB", (side, side), DESK), max(1, round(scale))
    ImageDraw.Draw(small).rounded_rectangle((0, 0, side - 1, side - 1), radius * times, PAPER, LINE, line * times)
    small = small.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
    card = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(card).rectangle((0, 0, width - 1, height - 1), outline=LINE, width=line)
    for left, x in ((0, 0), (radius, width - radius)):
        for top, y in ((0, 0), (radius, height - radius)):
            card.paste(small.crop((left, top, left + radius, top + radius)), (x, y))
    card.paste(content, (margin, margin))
    return card


def _joined(images: list[Image.Image], gap: int, ground: str = PAPER, across: bool = False) -> Image.Image:
    """Images in a column, or in a row."""
    widths, heights = zip(*(image.size for image in images))
    spaces, at = gap * (len(images) - 1), 0
    size = (sum(widths) + spaces, max(heights)) if across else (max(widths), sum(heights) + spaces)
    sheet = Image.new("RGB", size, ground)
    for image in images:
        sheet.paste(image, (at, 0) if across else (0, at))
        at += (image.width if across else image.height) + gap
    return sheet


def _rgb(colour: str) -> np.ndarray:
    return np.array(ImageColor.getrgb(colour), dtype=float)

"""The pictures of an image run's page."""

import math

import torch
from einops import rearrange
from torch import Tensor

from mmgen.modalities.image.page.story import Completion, Film, ImageStory, Mode, Reconstruction
from mmgen.page.page import Picture
from mmgen.page.tiles import Pixels, cover, picture, pixels, sheet, spread, strip
from mmgen.page.wording import accent, listed, title

TIMES = 3  # small images are enlarged so much in the file; the browser fits them to the screen
FRAMES = 64  # of a film, at most
STILLS = 6


def pairs(made: Reconstruction, columns: int = 10) -> Picture:
    """Rows of real images, each above its row of reconstructions."""
    columns = min(columns, len(made.originals))
    whole = len(made.originals) // columns * columns
    both = torch.stack([made.originals[:whole], made.decoded[:whole]])
    tiles = rearrange(both, "two (r c) ... -> (r two c) ...", c=columns)
    alt = f"{whole} real held-out digits, each above its reconstruction from {made.bits_per_image:g} bits."
    return picture(sheet(pixels(tiles, TIMES), columns), alt)


def hero(story: ImageStory) -> Picture:
    """One sample of every class in every mode, a row a mode."""
    count = len(story.class_names)
    tiles = torch.cat([mode.images[:count] for mode in story.modes])
    modes = listed([title(mode.name).lower() for mode in story.modes])
    alt = f"One generated digit of each class, a row a mode: {modes}."
    return picture(sheet(pixels(tiles, TIMES), count), alt)


def sample_grid(mode: Mode, class_names: list[str]) -> Picture:
    """The images of a mode, a column a class; those that the judge takes for another class framed."""
    alt = f"{len(mode.images)} generated digits, {title(mode.name).lower()}: a column each for {listed(class_names)}."
    wrong = None
    if mode.judged is not None:
        wrong = ~mode.judged
        alt += f" The classifier sees the wanted class in {int(mode.judged.sum())} of them."
    return picture(sheet(pixels(mode.images, TIMES), len(class_names), marked=wrong), alt)


def film_strip(film: Film, mode: str) -> Picture:
    """All frames of a film under each other, each with all its images, in two rows where there are more than six."""
    count = film.images.shape[1]
    columns = count if count <= 6 else math.ceil(count / 2)
    alt = f"{title(mode)}: {count} digits from nothing to finished in {film.passes[-1]} passes of the network."
    return picture(strip([sheet(frame, columns) for frame in film_tiles(film, mode)]), alt)


def stills(film: Film, sample: int, mode: str) -> Picture:
    """A few states of one image side by side."""
    count = len(film.passes)
    some = film.cut(sorted({round((i + 1) * (count - 1) / STILLS) for i in range(STILLS)}))
    tiles = film_tiles(some, mode)[:, sample]
    passes = listed([str(number) for number in some.passes])
    return picture(sheet(tiles, math.ceil(len(tiles) / 2)), f"{title(mode)}: one digit after {passes} passes.")


def film_tiles(film: Film, mode: str) -> Pixels:
    """(F, B, H, W, 4): open places grey, those committed since the frame before tinted."""
    committed = grid_of(film.committed)
    fresh = committed.clone()
    fresh[1:] &= ~committed[:-1]
    fresh[0] = fresh[-1] = False  # the last frame shows the images as they are
    return cover(pixels(film.images, TIMES), committed, fresh, accent(mode))


def thinned(film: Film) -> Film:
    """At most FRAMES of a film's states, the first and the last among them."""
    return film if len(film.passes) <= FRAMES else film.cut(spread(len(film.passes), FRAMES))


def given(each: Completion) -> tuple[Picture, Picture]:
    """The real image, and what was kept of it."""
    kept = cover(pixels(each.seen, TIMES), grid_of(each.kept))
    return (
        picture(pixels(each.original, TIMES), f"A real {each.name}, held out."),
        picture(kept, f"What was kept of it, the top {kept_share(each):.0f} %."),
    )


def completed(each: Completion, name: str) -> Picture:
    """The completions of one mode side by side."""
    tiles = pixels(each.filled[name], TIMES)
    return picture(sheet(tiles, len(tiles)), f"{title(name)}: {len(tiles)} completions of the kept part.")


def grid_of(committed: Tensor) -> Tensor:
    """(..., T, h, w) of a still image, T = 1, as (..., h, w)."""
    return committed.squeeze(-3)


def kept_share(each: Completion) -> float:
    """Percent of the height that is kept, from the top."""
    return 100 * grid_of(each.kept).all(-1).float().mean().item()

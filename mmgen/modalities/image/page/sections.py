"""The sections of a page on images, a function each: a new section is one function more, in `PARTS`."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from markupsafe import Markup
from safetensors.torch import load_file
from torch import Tensor

from mmgen.media.image_file import open_image
from mmgen.modalities.image.page.film import FILE, SamplerFilm
from mmgen.page.chapter import Card, Chapter, Column, Way
from mmgen.page.page import Picture, Section, macros, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.tiles import Clock, Pixels, cover, make_film, picture, pixels, sheet
from mmgen.page.wording import PALETTE, describe_tokens, figure, join_words

_SMALL, _LARGE = 84, 192  # pixels that small images are enlarged to in the file, and large ones are shrunk to
_PAIRS, _SAMPLES = 20, 80  # reconstructions and samples of a folder on the page, at most
templates = macros(Path(__file__).parent / "templates" / "image.html")


def reconstruction(chapter: Chapter) -> Section | None:
    """Real images above what a tokenizer makes of them."""
    body: list[Markup | str] = []
    ways = chapter.reconstructions()
    for run, folder, column in ways:
        files = zip(folder.files(".png"), folder.recordings(".png"))
        both = [(file, real) for file, real in files if real is not None][:_PAIRS]
        if not both:
            continue
        columns = min(10, len(both))
        images = torch.stack([read_images(each) for each in zip(*both[: len(both) // columns * columns])])
        alt = f"{len(both)} real images, each above its reconstruction from {run.spec.amount}."
        # Over the whole held-out set where it was measured, else over the images on the page.
        psnr = f"{folder.record['psnr_db']:.2f} dB over these {folder.record['samples']}"
        for each in (each for each in run.figures if each.metric == "psnr_db"):
            psnr = f"{each.value:.2f} dB over {each.samples:,} held-out images"
        lead = f"{f'{column.title}: real' if len(ways) > 1 else 'Real'} images above, and below what is left of them"
        lead += f" after {describe_tokens(run.spec)}, {run.spec.amount} an image: **{psnr}**."
        drawn = _grid(rearrange(images.flip(0), "two (r c) ... -> (r two c) ...", c=columns), columns, alt)
        still = parts.still(drawn, "Odd rows: real. Even rows: encoded and decoded again.", "pairs")
        body += [lead, still, parts.command(folder.command)]
    return Section("tokenizer", "Real and reconstructed", body) if body else None


def samples(chapter: Chapter) -> Section | None:
    """A grid for each folder of samples, a column a class where classes take turns."""
    cards, judged = [], False
    for way in chapter.samples():
        folder, column = way.folder, way.column
        files = folder.files(".png")[:_SAMPLES]
        if not files:
            continue
        labels = folder.names("classes")[: len(files)]
        heads = _alternating_classes(labels)
        alt = f"{len(files)} generated images, {column.title}"
        alt += f": a column each for {join_words(heads)}." if heads else "."
        wrong = None
        if predicted := folder.record.get("judged"):
            judged, wrong = True, torch.tensor([label != other for label, other in zip(labels, predicted)])
            alt += f" The classifier sees the wanted class in {int((~wrong).sum())} of them."
        columns = len(heads) or math.ceil(math.sqrt(len(files)))
        grid = parts.image(_grid(read_images(files), columns, alt, wrong))
        cards.append(Card(column, grid, column.how, heads, _numbers(way), folder.command))
    lead = "Every image is a fresh draw; nothing was picked."
    lead += " A column is a class." if any(card.heads for card in cards) else ""
    lead += " An image that a classifier takes for another class has a red frame." if judged else ""
    note = "An FID on features of a network that was trained on these data compares samples here and nowhere else."
    body = [lead, parts.columns(cards), parts.paragraph(note, "note")]
    return Section("samples", "Samples", body) if cards else None


def _alternating_classes(labels: list[str]) -> list[str]:
    """The classes where they take turns, from the first to the last and again; none where they do not."""
    heads = list(dict.fromkeys(labels))
    turn = 1 < len(heads) <= 20 and all(label == heads[place % len(heads)] for place, label in enumerate(labels))
    return heads if turn and not labels[0].startswith("sample ") else []


def _numbers(way: Way) -> dict[str, str]:
    """What these samples took, and the main figures of their mode."""
    record = way.folder.record
    numbers = {"steps": f"{record['steps']:,}", "forward passes": f"{record['forward_passes']:,}"}
    numbers["a sample"] = figure(record["seconds_per_sample"], "seconds")
    for metric, name in (("class_accuracy", "class accuracy"), ("fid", "FID"), ("fd", "Fréchet distance")):
        for each in way.run.figures:
            if each.mode == way.folder.mode and each.base == metric:
                numbers[name] = figure(each.value, metric)
    return numbers


def decoding(chapter: Chapter) -> Section | None:
    """Films of sampling, on one clock."""
    ways = [way for way in chapter.samples(lambda record: True) if (way.folder.path / FILE).exists()]
    films = [(way.column, SamplerFilm.read(way.folder.path)) for way in ways]
    if not films:
        return None
    last = max(film.passes[-1] for _, film in films)
    clock, cards = Clock("pass", 0, last, tick=0.13, rest=2.2), []
    for column, film in films:
        count, steps = film.images.shape[1], len(film.passes)
        sample, some = min(3, count - 1), film.select(sorted({round((i + 1) * (steps - 1) / 6) for i in range(6)}))
        rows = film.order[sample].tolist()
        label = f"{column.title}: the pass at which each token was committed, row by row:"
        label += f" {'; '.join(' '.join(map(str, row)) for row in rows)}."
        order = templates.order_map(rows, max(map(max, rows)) or 1, label)
        alt = f"{column.title}: one image after {join_words([str(number) for number in some.passes])} passes."
        stills = picture(sheet(_film_tiles(some, column)[:, sample], math.ceil(len(some.passes) / 2)), alt)
        alt = f"{column.title}: {count} images from nothing to finished in {film.passes[-1]} passes of the network."
        captions = [f"pass {number}" for number in film.passes[:-1]] + ["finished"]
        total, columns = f"{film.passes[-1]} passes", count if count <= 6 else math.ceil(count / 2)
        reel = make_film(_film_tiles(film, column), columns, film.passes, captions, total, alt)
        cards.append(Card(column, templates.decoding(parts.film(reel, clock), order, stills)))
    lead = (
        "Tokens appear in the order in which they are committed; those of the latest step are tinted, open places are"
    )
    lead += " grey. The clock counts calls of the network, so the shorter film is the cheaper one."
    note = "The small grids say at which pass each token of one image was committed; beside them the image on its way."
    body = [lead, parts.columns(cards, clock), parts.paragraph(note, "note")]
    return Section("decoding", "How they come about", body)


def inpainting(chapter: Chapter) -> Section | None:
    """Images of which a part is preserved and the rest filled in: a row for each source."""
    rows: dict[tuple[object, ...], list[Way]] = {}
    for way in chapter.inpaintings():
        record = way.folder.record
        label = (record.get("classes") or [None])[0]
        if way.folder.files(".png") and (way.folder.path / "source.png").exists():
            rows.setdefault((record["inpaint"], record["keep_region"], label), []).append(way)
    if not rows:
        return None
    lead = "A part of a real image is preserved as tokens, the rest is filled in. Each is given exactly the same part."
    completions = [_completion(ways, label) for (*_, label), ways in rows.items()]
    return Section(
        "completion",
        "Partly given, completed",
        [lead, *completions, parts.commands([way for ways in rows.values() for way in ways])],
    )


def _completion(ways: list[Way], label: object) -> Markup:
    """One source, what was preserved of it, and the images that were made of it."""
    run, folder, _ = ways[0]
    original, decoded = (read_images([folder.path / name]) for name in ("source.png", "source-decoded.png"))
    keep = load_file(folder.path / "samples.safetensors")["keep"]
    grid = keep.reshape(run.spec.grid[0] * run.spec.grid[1], run.spec.grid[2])
    rows = grid.all(-1)
    top, share = int(rows.sum()), f"{100 * keep.float().mean().item():.0f} %"
    is_top = bool(rows[:top].all()) and not grid[top:].any()
    cards = []
    for way in ways:
        files = way.folder.files(".png")[:4]
        alt = f"{way.column.title}: {len(files)} completions."
        cards.append(Card(way.column, parts.image(_grid(read_images(files), len(files), alt))))
    completion: Markup = templates.completion(
        _grid(original, 1, "The source image."),
        picture(cover(_tiles(decoded[0]), grid), f"What was preserved of it, {share}."),
        round(100 * top / len(rows), 2) if is_top else None,
        f"{share} is preserved. The model was told {f'the class {label}' if label else 'no class'}.",
        cards,
    )
    return completion


def opening_picture(chapter: Chapter) -> Picture | None:
    """A row of samples for each of the first folders, else reconstructions."""
    ways = chapter.samples() or chapter.reconstructions()
    rows = [(files, way.column) for way in ways if (files := way.folder.files(".png"))][:4]
    if not rows:
        return None
    count = min(10, *(len(files) for files, _ in rows))
    images = [read_images(files[:count]) for files, _ in rows]
    alike = [each for each in images if each.shape == images[0].shape]
    alt = f"{count} images a row, from above: {join_words([column.title.lower() for _, column in rows])}."
    return _grid(torch.cat(alike), count, alt)


def read_images(files: Sequence[Path]) -> Tensor:
    """(B, C, H, W) in [-1, 1], of files of one size; large ones are shrunk, as they are shown small."""
    images = []
    for file in files:
        image = open_image(file, None)
        image.thumbnail((_LARGE, _LARGE))
        array = np.atleast_3d(np.array(image))
        images.append(rearrange(torch.from_numpy(array).float() / 127.5 - 1, "h w c -> c h w"))
    return torch.stack(images)


def _tiles(images: Tensor) -> Pixels:
    """(..., C, H, W) in [-1, 1] as pixels, small ones enlarged."""
    return pixels(images, max(1, _SMALL // images.shape[-2]))


def _grid(images: Tensor, columns: int, alt: str, wrong: Tensor | None = None) -> Picture:
    """Images row by row; those that a judge takes for another class framed."""
    return picture(sheet(_tiles(images), columns, marked=wrong), alt)


def _film_tiles(film: SamplerFilm, column: Column) -> Pixels:
    """(F, B, H, W, 4): open places grey, those committed since the frame before tinted; the last frame as it is."""
    fresh = torch.zeros_like(film.committed)
    fresh[1:-1] = film.committed[1:-1] & ~film.committed[:-2]
    return cover(_tiles(film.images.float() / 127.5 - 1), film.committed, fresh, PALETTE[column.colour])


PARTS = PageParts(
    sections=(reconstruction, samples, decoding, inpainting),
    opening_picture=opening_picture,
    headlines=(
        Headline("psnr_db", "PSNR of held-out reconstructions", form="{:.1f} dB"),
        Headline("bits_per_image", "an image, as tokens", form="{:,.0f} bits"),
        Headline("class_accuracy", "of samples right, at worst ({way})", worst=True),
        Headline("fid", "FID at best ({way}), on features of these data"),
    ),
    plural="images",
)

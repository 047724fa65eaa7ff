"""The sections of a page on images, a function each: a new section is one function more, in `PARTS`."""

import math
from pathlib import Path

import torch
from markupsafe import Markup
from safetensors.torch import load_file

from mmgen.modalities.image.page import pictures
from mmgen.modalities.image.page.film import FILE, SamplerFilm
from mmgen.page.chapter import Card, Chapter, Way
from mmgen.page.page import Picture, Section, macros, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.tiles import Clock, cover, picture
from mmgen.page.wording import describe_tokens, figure, join_words
from mmgen.store.results import base_metric

_SECONDS_A_PASS, _SECONDS_AT_REST = 0.13, 2.2
_PAIRS, _SAMPLES = 20, 80
"""Reconstructions and samples of a folder on the page, at most."""
templates = macros(Path(__file__).parent / "templates" / "image.html")


def _is_inpainting(record: dict[str, object]) -> bool:
    return bool(record.get("inpaint"))


def reconstruction(chapter: Chapter) -> Section | None:
    """Real images above what a tokenizer makes of them."""
    body: list[Markup] = []
    ways = chapter.reconstructions()
    for way in ways:
        run, folder, column = way
        files = zip(folder.files(".png"), folder.recordings(".png"))
        both = [(file, real) for file, real in files if real is not None][:_PAIRS]
        if not both:
            continue
        decoded, originals = (pictures.read_images(each) for each in zip(*both))
        alt = f"{len(both)} real images, each above its reconstruction from {run.spec.amount}."
        lead = (
            f"{f'{column.title}: real' if len(ways) > 1 else 'Real'} images above, and below what is left of them after"
            f" {describe_tokens(run.spec)}, {run.spec.amount} an image: **{_psnr(way)}**."
        )
        caption = "Odd rows: real. Even rows: encoded and decoded again."
        drawn = pictures.pairs(originals, decoded, alt)
        body += [
            parts.paragraph(lead), parts.still(drawn, caption, "Images and their reconstructions", "pairs"),
            parts.command(folder.command),
        ]  # fmt: skip
    return Section("tokenizer", "Real and reconstructed", body) if body else None


def _psnr(way: Way) -> str:
    """Over the whole held-out set where it was measured, else over the images on the page."""
    for each in way.run.figures:
        if each.metric == "psnr_db":
            return f"{each.value:.2f} dB over {each.samples:,} held-out images"
    return f"{way.folder.record['psnr_db']:.2f} dB over these {way.folder.record['samples']}"


def samples(chapter: Chapter) -> Section | None:
    """A grid for each folder of samples, a column a class where classes take turns."""
    cards, judged = [], False
    for way in chapter.samples(lambda record: not _is_inpainting(record)):
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
        grid = parts.image(pictures.image_grid(pictures.read_images(files), columns, alt, wrong))
        cards.append(Card(column, grid, column.how, heads, _numbers(way), folder.command))
    lead = "Every image is a fresh draw; nothing was picked." + (
        " A column is a class." if any(card.heads for card in cards) else ""
    )
    if judged:
        lead += " An image that a classifier takes for another class has a red frame."
    note = (
        "An FID on features of a network that was trained on these data compares samples here, and with nothing else."
    )
    body = [parts.paragraph(lead), parts.columns(cards), parts.paragraph(note, "note")]
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
            if each.mode == way.folder.mode and base_metric(each.metric, each.extractor) == metric:
                numbers[name] = figure(each.value, metric)
    return numbers


def decoding(chapter: Chapter) -> Section | None:
    """Films of sampling, on one clock."""
    ways = [way for way in chapter.samples() if (way.folder.path / FILE).exists()]
    films = [(way.column, SamplerFilm.read(way.folder.path)) for way in ways]
    if not films:
        return None
    last = max(film.passes[-1] for _, film in films)
    clock, cards = Clock("pass", 0, last, _SECONDS_A_PASS, _SECONDS_AT_REST), []
    for column, film in films:
        sample = min(3, film.images.shape[1] - 1)
        rows = film.order[sample].tolist()
        grid = "; ".join(" ".join(map(str, row)) for row in rows)
        label = f"{column.title}: the pass at which each token was committed, row by row: {grid}."
        order = templates.order_map(rows, max(map(max, rows)) or 1, label)
        strip = parts.film(pictures.film_strip(film, column), clock)
        cards.append(Card(column, templates.decoding(strip, order, pictures.stills(film, sample, column))))
    lead = (
        "Tokens appear in the order in which they are committed; those of the latest step are tinted, grey places are"
        " still open. The clock counts calls of the network, so the shorter film is the cheaper one."
    )
    note = (
        "The small grids say at which pass each token of one image was committed, the earlier the stronger; beside them"
        " the same image on its way."
    )
    body = [parts.paragraph(lead), parts.columns(cards, clock), parts.paragraph(note, "note")]
    return Section("decoding", "How they come about", body)


def inpainting(chapter: Chapter) -> Section | None:
    """Images of which a part is preserved and the rest filled in: a row for each source."""
    rows: dict[tuple[object, ...], list[Way]] = {}
    for way in chapter.samples(_is_inpainting):
        record = way.folder.record
        label = (record.get("classes") or [None])[0]
        if way.folder.files(".png") and (way.folder.path / "source.png").exists():
            rows.setdefault((record["inpaint"], record["keep_region"], label), []).append(way)
    if not rows:
        return None
    lead = "A part of a real image is preserved as tokens, the rest is filled in. Each is given exactly the same part."
    lines = [way.folder.command for ways in rows.values() for way in ways]
    completions = [_completion(chapter, ways, label) for (*_, label), ways in rows.items()]
    return Section(
        "completion", "Partly given, completed", [parts.paragraph(lead), *completions, parts.commands(lines)]
    )


def _completion(chapter: Chapter, ways: list[Way], label: object) -> Markup:
    """One source, what was preserved of it, and the images that were made of it."""
    run, folder, _ = ways[0]
    original, seen = (pictures.read_images([folder.path / name]) for name in ("source.png", "source-decoded.png"))
    keep = load_file(folder.path / "samples.safetensors")["keep"]
    grid = keep.reshape(run.spec.grid[0] * run.spec.grid[1], run.spec.grid[2])
    rows = grid.all(-1)
    top, share = int(rows.sum()), f"{100 * keep.float().mean().item():.0f} %"
    is_top = bool(rows[:top].all()) and not grid[top:].any()
    cards = []
    for way in ways:
        files, column = way.folder.files(".png")[:4], chapter.column(way.run, way.folder.mode)
        alt = f"{column.title}: {len(files)} completions."
        cards.append(Card(column, parts.image(pictures.image_grid(pictures.read_images(files), len(files), alt))))
    completion: Markup = templates.completion(
        pictures.image_grid(original, 1, "The source image."),
        picture(cover(pictures.tiles(seen[0]), grid), f"What was preserved of it, {share}."),
        round(100 * top / len(rows), 2) if is_top else None,
        f"{share} is preserved. The model was told {f'the class {label}' if label else 'no class'}.",
        cards,
    )
    return completion


def opening_picture(chapter: Chapter) -> Picture | None:
    """A row of samples for each of the first folders, else reconstructions."""
    ways = chapter.samples(lambda record: not _is_inpainting(record)) or chapter.reconstructions()
    rows = [(files, way.column) for way in ways if (files := way.folder.files(".png"))][:4]
    if not rows:
        return None
    count = min(10, *(len(files) for files, _ in rows))
    images = [pictures.read_images(files[:count]) for files, _ in rows]
    alike = [each for each in images if each.shape == images[0].shape]
    alt = f"{count} images a row, from above: {join_words([column.title.lower() for _, column in rows])}."
    return pictures.image_grid(torch.cat(alike), count, alt)


PARTS = PageParts(
    sections=(reconstruction, samples, decoding, inpainting),
    opening_picture=opening_picture,
    headlines=(
        Headline("psnr_db", "PSNR of held-out reconstructions", write=lambda value: f"{value:.1f} dB"),
        Headline("bits_per_image", "an image, as tokens", write=lambda value: f"{value:,.0f} bits"),
        Headline("class_accuracy", "of samples right, at worst ({way})", worst=True),
        Headline("fid", "FID at best ({way}), on features of these data"),
    ),
    plural="images",
)

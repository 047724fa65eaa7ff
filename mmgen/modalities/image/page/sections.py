"""The sections of a page on images, a function each: a new section is one function more, in `PARTS`."""

import math
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmgen.modalities.image.page import pictures
from mmgen.modalities.image.page.commit_order import order_map
from mmgen.modalities.image.page.film import FILE, SamplerFilm
from mmgen.page.chapter import Chapter
from mmgen.page.film import Clock
from mmgen.page.page import Picture, Section, figure, fill_from
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import Run, SampleFolder
from mmgen.page.wording import describe_tokens, join_words
from mmgen.store.results import base_metric

fill = partial(fill_from, Path(__file__).parent / "templates")
_SECONDS_A_PASS, _SECONDS_AT_REST = 0.13, 2.2
_PAIRS, _SAMPLES = 20, 80
"""Reconstructions and samples of a folder that are entries, at most."""


def reconstruction(chapter: Chapter) -> Section | None:
    """Real images above what a tokenizer makes of them."""
    entries = []
    for run, folder, column in chapter.reconstruction_columns():
        files, recordings = folder.files(".png"), folder.recordings(".png")
        both = [(file, real) for file, real in zip(files, recordings) if real is not None][:_PAIRS]
        if not both:
            continue
        decoded, originals = (pictures.read_images(each) for each in zip(*both))
        alt = f"{len(both)} real images, each above its reconstruction from {run.spec.amount}."
        entries.append({
            "column": column, "pairs": pictures.pairs(originals, decoded, alt), "amount": run.spec.amount,
            "tokens": describe_tokens(run.spec), "psnr": _psnr(run, folder), "command": folder.command,
        })  # fmt: skip
    return (
        Section("tokenizer", "Real and reconstructed", fill("reconstruction.html", entries=entries))
        if entries
        else None
    )


def _psnr(run: Run, folder: SampleFolder) -> str:
    """Over the whole held-out set where it was measured, else over the images that are entries."""
    for each in run.figures:
        if each.metric == "psnr_db":
            return f"{each.value:.2f} dB over {each.samples:,} held-out images"
    return f"{folder.record['psnr_db']:.2f} dB over these {folder.record['samples']}"


def samples(chapter: Chapter) -> Section | None:
    """A grid for each folder of samples, a column a class where classes take turns."""
    entries = []
    for run, folder, column in chapter.sample_columns(lambda folder: not folder.record.get("inpaint")):
        files = folder.files(".png")[:_SAMPLES]
        if not files:
            continue
        labels = folder.names("classes")[: len(files)]
        heads = _turns(labels)
        columns = len(heads) or math.ceil(math.sqrt(len(files)))
        predicted = folder.record.get("judged")
        wrong = predicted and torch.tensor([one != other for one, other in zip(labels, predicted)])
        alt = f"{len(files)} generated images, {column.title}" + (
            f": a column each for {join_words(heads)}." if heads else "."
        )
        if wrong is not None:
            alt += f" The classifier sees the wanted class in {int((~wrong).sum())} of them."
        grid = pictures.image_grid(pictures.read_images(files), columns, alt, wrong)
        entries.append({
            "column": column, "heads": heads, "grid": grid, "numbers": _numbers(run, folder),
            "judged": wrong is not None, "command": folder.command,
        })  # fmt: skip
    return Section("samples", "Samples", fill("samples.html", entries=entries)) if entries else None


def _turns(labels: list[str]) -> list[str]:
    """The classes where they take turns, from the first to the last and again; none where they do not."""
    heads = list(dict.fromkeys(labels))
    turn = len(heads) <= 20 and all(label == heads[place % len(heads)] for place, label in enumerate(labels))
    return heads if turn and len(heads) > 1 and not labels[0].startswith("sample ") else []


def _numbers(run: Run, folder: SampleFolder) -> dict[str, str]:
    """What these samples took, and the main figures of their mode."""
    record = folder.record
    numbers = {"steps": f"{record['steps']:,}", "forward passes": f"{record['forward_passes']:,}"}
    numbers["a sample"] = figure(record["seconds_per_sample"], "seconds")
    for metric, name in (("class_accuracy", "class accuracy"), ("fid", "FID"), ("fd", "Fréchet distance")):
        for each in run.figures:
            if each.mode == folder.mode and base_metric(each.metric, each.extractor) == metric:
                numbers[name] = figure(each.value, metric)
    return numbers


def decoding(chapter: Chapter) -> Section | None:
    """Films of sampling, on one clock."""
    films = [
        (column, SamplerFilm.read(folder.path))
        for _, folder, column in chapter.sample_columns()
        if (folder.path / FILE).exists()
    ]
    if not films:
        return None
    clock = Clock(
        "pass", 0, max(film.passes[-1] for _, film in films), _SECONDS_A_PASS, _SECONDS_AT_REST, "Calls of the network"
    )
    entries = []
    for column, film in films:
        sample = min(3, film.images.shape[1] - 1)
        entries.append({
            "column": column, "film": pictures.film_strip(film, column),
            "order": order_map(film.order[sample], column.title), "stills": pictures.stills(film, sample, column),
        })  # fmt: skip
    return Section("decoding", "How they come about", fill("decoding.html", entries=entries, clock=clock))


def inpainting(chapter: Chapter) -> Section | None:
    """Images of which a part is preserved and the rest filled in: a row for each source."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for run, folder, column in chapter.sample_columns(lambda folder: bool(folder.record.get("inpaint"))):
        record, files = folder.record, folder.files(".png")[:4]
        classes = folder.record.get("classes") or [None]
        source = folder.path / "source.png"
        if not files or not source.exists():
            continue
        row = rows.setdefault((record["inpaint"], record["keep_region"], classes[0]), _given(run, folder, classes[0]))
        made = pictures.image_grid(
            pictures.read_images(files), len(files), f"{column.title}: {len(files)} completions."
        )
        row["ways"] = [
            *row["ways"],
            {"column": chapter.column(run, folder.mode), "filled": made, "command": folder.command},
        ]  # type: ignore[misc]
    if not rows:
        return None
    return Section("completion", "Partly given, completed", fill("completion.html", rows=list(rows.values())))


def _given(run: Run, folder: SampleFolder, label: str | None) -> dict[str, object]:
    """The source of an inpainting, and what was preserved of it."""
    (original,) = pictures.read_images([folder.path / "source.png"])
    (seen,) = pictures.read_images([folder.path / "source-decoded.png"])
    keep: Tensor = load_file(folder.path / "samples.safetensors")["keep"]
    grid = keep.reshape(run.spec.grid[0] * run.spec.grid[1], run.spec.grid[2])
    rows = grid.all(-1)
    top = int(rows.sum()) / len(rows) if bool((grid.any(-1) == rows).all()) and rows[: int(rows.sum())].all() else None
    share = f"{100 * keep.float().mean().item():.0f} %"
    return {
        "original": pictures.image_grid(original[None], 1, "The source image."),
        "preserved": pictures.preserved(seen, grid, f"What was preserved of it, {share}."),
        "share": None if top is None else round(100 * top, 2),
        "note": f"{share} is preserved. The model was told {f'the class {label}' if label else 'no class'}.",
        "ways": [],
    }  # fmt: skip


def opening_picture(chapter: Chapter) -> Picture | None:
    """A row of samples for each of the first folders, else reconstructions."""
    folders = (
        chapter.sample_columns(lambda folder: not folder.record.get("inpaint")) or chapter.reconstruction_columns()
    )
    rows = [(folder.files(".png"), column) for _, folder, column in folders]
    rows = [(files, column) for files, column in rows if files][:4]
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

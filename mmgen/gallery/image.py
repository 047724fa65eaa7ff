"""The page of an image run: a function a section. Another modality brings a file like this one; a new section is one function more."""

import math
from typing import Any

import torch
from torch import Tensor

from mmgen.gallery.drawing import chart, order_map
from mmgen.gallery.material import Completion, Film, MaskPicture, Material, Mode
from mmgen.gallery.page import Page, Picture, Section, data_uri, duration, figure, fill
from mmgen.gallery.tiles import Pixels, cover, picture, pixels, sheet, strip

TIMES = 3  # digits are enlarged so much in the file; the browser fits them to the screen
FRAMES = 64  # of a film, at most
STILLS = 6
SECONDS_A_PASS, SECONDS_AT_REST = 0.13, 2.2  # as in page.js

MODES: dict[str, tuple[str, str]] = {
    "ar": ("Autoregressive", "Token after token in reading order, each given all before it."),
    "masked": ("Masked", "All at once, in a few rounds: the surest tokens first, wherever they are."),
    "block": ("Block diffusion", "Block after block, each revealed in a few rounds, given the finished ones."),
}
COLOURS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "ar": ("blue", (66, 140, 224)),
    "masked": ("amber", (236, 136, 40)),
    "block": ("green", (40, 176, 136)),
}
OTHER = ("grey", (150, 150, 150))
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
HIGHER = ("class_accuracy", "precision", "recall", "density", "coverage")


def image_page(material: Material) -> Page:
    """The whole page."""
    accuracies = [value for mode in material.modes if (value := measured(mode, "class_accuracy")) is not None]
    figures = [
        (f"{material.reconstruction.psnr_db:.1f} dB", "PSNR of held-out reconstructions"),
        (f"{material.reconstruction.bits_per_image:,.0f} bits", "an image, as tokens"),
        (f"{100 * min(accuracies):.0f} %", "of samples right in the weakest mode") if accuracies else (str(len(material.modes)), "modes"),
        (f"{100 * material.classifier[1]:.1f} %", "held-out accuracy of the judge"),
        (duration(material.total_seconds), "from nothing to this page"),
    ]
    count = len(material.modes)
    lead = (
        f"A tokenizer and one transformer, trained from scratch on small digits. The same weights then generate in {word(count)}"
        f" {'ways' if count != 1 else 'way'}: {listed([title(mode.name).lower() for mode in material.modes])}."
    )
    head = f"One checkpoint, {word(count)} {'ways' if count != 1 else 'way'} to generate"
    sections = [section(material) for section in SECTIONS]
    return Page(head, lead, figures, material.facts, material.commands, [section for section in sections if section is not None])


def reconstruction(material: Material) -> Section:
    """Real above reconstructed."""
    made = material.reconstruction
    columns = min(10, len(made.originals))
    rows = [torch.stack([real, again]) for real, again in zip(made.originals.split(columns), made.decoded.split(columns))]
    tiles = torch.cat([row.flatten(0, 1) for row in rows if row.shape[1] == columns])
    alt = f"{len(tiles) // 2} real held-out digits, each above its reconstruction from {made.bits_per_image:g} bits."
    body = fill(
        "reconstruction.html", pairs=picture(sheet(pixels(tiles, TIMES), columns), alt), bits=made.bits_per_image, tokens=made.tokens,
        psnr=f"{made.psnr_db:.2f}", samples=f"{made.samples:,}", line=made.command,
    )  # fmt: skip
    return Section("tokenizer", "Real and reconstructed", body)


def samples(material: Material) -> Section:
    """A grid a mode, by class."""
    shown = []
    for mode in material.modes:
        accuracy, fid = measured(mode, "class_accuracy"), measured(mode, "fid")
        shown.append(
            described(mode.name)
            | {
                "grid": sample_grid(mode, material.class_names),
                "class_accuracy": "–" if accuracy is None else figure(accuracy, "class_accuracy"),
                "fid": "–" if fid is None else figure(fid),
                **{name: getattr(mode, name) for name in ("steps", "forward_passes", "seconds_per_sample", "command")},
            }
        )
    body = fill(
        "samples.html", modes=shown, classes=material.class_names, count=len(material.modes[0].images), words=word(len(shown)),
        any_judged=any(mode.judged is not None for mode in material.modes), classifier=material.classifier[0],
        samples=f"{material.modes[0].samples:,}",
    )  # fmt: skip
    return Section("samples", "Samples", body)


def decoding(material: Material) -> Section:
    """The films, on one clock."""
    longest = max(mode.film.passes[-1] for mode in material.modes)
    rest = SECONDS_AT_REST / SECONDS_A_PASS
    shown = []
    for mode in material.modes:
        film = thinned(mode.film)
        frames = film_frames(film, COLOURS.get(mode.name, OTHER)[1])
        still = min(3, film.images.shape[1] - 1)
        alt = f"{title(mode.name)}: {film.images.shape[1]} digits from nothing to finished in {film.passes[-1]} passes of the network."
        shown.append(
            described(mode.name)
            | {
                "film": picture(strip(frames), alt),
                "height": len(frames[0]),
                "frames": len(frames),
                "end": round(-100 * (len(frames) - 1) / len(frames), 4),
                "share": round(100 * film.passes[-1] / (longest + rest), 2),
                "passes": film.passes,
                "forward_passes": film.passes[-1],
                "order": order_map(mode.film, still, title(mode.name)),
                "stills": stills(film, still, title(mode.name), COLOURS.get(mode.name, OTHER)[1]),
            }
        )
    seconds = f"{(longest + rest) * SECONDS_A_PASS:.2f}"
    return Section("decoding", "How they come about", fill("decoding.html", modes=shown, longest=longest, seconds=seconds, what="digit"))


def completion(material: Material) -> Section | None:
    """Halves of real digits, filled in."""
    if not material.completions:
        return None
    shown = []
    for each in material.completions:
        modes = [
            described(name) | {"filled": completed(each, name), "command": each.commands[name]} for name in each.filled
        ]
        what = f"a {each.name}"
        shown.append(
            {
                "original": picture(pixels(each.original, TIMES), f"Real {each.name}, held out."),
                "kept": picture(cover(pixels(each.original, TIMES), grid_of(each.kept)), f"The kept part of it, the top {kept_share(each):.0f} %."),
                "share": round(kept_share(each), 2),
                "modes": modes,
                "note": f"The model was told that it is {what}." if each.told else f"The model was not told that it is {what}.",
            }
        )
    return Section("completion", "Half a digit, completed", fill("completion.html", completions=shown))


def metrics(material: Material) -> Section:
    """All figures of all modes."""
    names = list(dict.fromkeys(name for mode in material.modes for name in mode.measured))
    costs = {"seconds_per_sample": "lower", "forward_passes": "lower", "steps": ""}
    rows = [metric_row(name, [mode.measured.get(name) for mode in material.modes]) for name in names if name not in costs]
    rows += [metric_row(name, [getattr(mode, name) for mode in material.modes], better) for name, better in costs.items()]
    shown = [described(mode.name) | {"measure_command": mode.measure_command} for mode in material.modes]
    body = fill(
        "metrics.html", modes=shown, rows=rows, classifier=material.classifier[0], accuracy=figure(material.classifier[1], "accuracy")
    )
    return Section("metrics", "Metrics", body)


def training(material: Material) -> Section | None:
    """The curves of the runs."""
    curves = [curve for curve in material.curves if any(curve.lines.values()) or any(curve.points.values())]
    if not curves:
        return None
    colours = {name: colour for name, (colour, _) in COLOURS.items()}
    charts = [{"svg": chart(curve, colours), "title": f"{curve.title}: {curve.unit}"} for curve in curves]
    return Section("training", "Training", fill("training.html", charts=charts))


def masks(material: Material) -> Section | None:
    """The masks that the modes train and sample under, and the rest."""
    if not material.masks:
        return None
    shown = [{"picture": mask_picture(mask), "modes": [described(name) for name in mask.modes]} for mask in material.masks]
    used, others = [mask for mask in shown if mask["modes"]], [mask for mask in shown if not mask["modes"]]
    return Section("masks", "Masks", fill("masks.html", used=used, others=others))


SECTIONS = [reconstruction, samples, decoding, completion, metrics, training, masks]


# Pictures.


def sample_grid(mode: Mode, class_names: list[str]) -> Picture:
    """The images of a mode, a column a class; those that the judge takes for another class framed."""
    wrong = None if mode.judged is None else ~mode.judged
    verdict = "" if mode.judged is None else f" The classifier sees the wanted class in {int(mode.judged.sum())} of them."
    alt = f"{len(mode.images)} generated digits, {title(mode.name).lower()}: columns are the classes {listed(class_names)}.{verdict}"
    return picture(sheet(pixels(mode.images, TIMES), len(class_names), marked=wrong), alt)


def film_frames(film: Film, accent: tuple[int, int, int]) -> list[Pixels]:
    """Each state of a film as one sheet of all its images, two rows of them where there are more than six."""
    count = film.images.shape[1]
    columns = count if count <= 6 else math.ceil(count / 2)
    return [sheet(state, columns) for state in film_tiles(film, accent)]


def film_tiles(film: Film, accent: tuple[int, int, int]) -> Pixels:
    """(F, B, H, W, 4): open places grey, those committed since the frame before tinted."""
    committed = torch.stack([grid_of(state) for state in film.committed])
    fresh = committed.clone()
    fresh[1:] &= ~committed[:-1]
    fresh[0] = fresh[-1] = False  # the last frame shows the images as they are
    return cover(pixels(film.images, TIMES), committed, fresh, accent)


def thinned(film: Film) -> Film:
    """At most FRAMES of a film's states, the first and the last among them."""
    count = len(film.passes)
    if count <= FRAMES:
        return film
    kept = [round(i * (count - 1) / (FRAMES - 1)) for i in range(FRAMES)]
    return Film(film.images[kept], film.committed[kept], [film.passes[i] for i in kept])


def stills(film: Film, sample: int, name: str, accent: tuple[int, int, int]) -> Picture:
    """A few states of one image side by side."""
    count = len(film.passes)
    kept = sorted({round((i + 1) * (count - 1) / STILLS) for i in range(STILLS)})
    one = Film(film.images[kept, sample : sample + 1], film.committed[kept, sample : sample + 1], [film.passes[i] for i in kept])
    passes = listed([str(number) for number in one.passes])
    return picture(sheet(film_tiles(one, accent)[:, 0], math.ceil(len(kept) / 2)), f"{name}: one digit after {passes} passes.")


def completed(each: Completion, name: str) -> Picture:
    """The completions of one mode side by side."""
    tiles = pixels(each.filled[name], TIMES)
    return picture(sheet(tiles, len(tiles)), f"{title(name)}: {len(tiles)} completions of the kept part.")


def mask_picture(mask: MaskPicture) -> Picture:
    """A mask's card."""
    return Picture(data_uri(mask.png, "image/png"), f"Mask {mask.name}. {mask.sentence}", *mask.size)


def grid_of(committed: Tensor) -> Tensor:
    """(..., T, h, w) of a still image, T = 1, as (..., h, w)."""
    return committed.squeeze(-3)


def kept_share(each: Completion) -> float:
    """Percent of the height that is kept, from the top."""
    return 100 * grid_of(each.kept).all(-1).float().mean().item()


# Words.


def title(name: str) -> str:
    """Of a mode."""
    return MODES.get(name, (name.capitalize(), ""))[0]


def described(name: str) -> dict[str, Any]:
    """What every section says of a mode."""
    return {"name": name, "title": title(name), "how": MODES.get(name, ("", ""))[1], "colour": COLOURS.get(name, OTHER)[0]}


def measured(mode: Mode, metric: str) -> float | None:
    """A figure by its name, whatever its extractor."""
    return next((value for name, value in mode.measured.items() if name == metric or name.startswith((f"{metric}[", f"{metric}_", f"{metric}/"))), None)


def metric_row(name: str, values: list[float | None], better: str | None = None) -> dict[str, Any]:
    """A row of the table; the best figure of several is marked."""
    if better is None:
        better = "higher" if name.startswith(HIGHER) else "lower"
    known = [value for value in values if value is not None]
    best = {"higher": max, "lower": min}[better](known) if better and len(set(known)) > 1 else None
    cells = [{"text": "–" if value is None else figure(value, name), "best": value is not None and value == best} for value in values]
    return {"name": name, "cells": cells, "better": better}


def word(count: int) -> str:
    """Small numbers in letters."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)

"""The page of an image run, a function a section: a new section is one function more, in `SECTIONS`.

Another modality brings a file like this one, with the parts in `page`, `tiles` and `drawing`.
"""

from typing import Any

from mmgen.gallery import pictures
from mmgen.gallery.drawing import chart, order_map
from mmgen.gallery.material import Material, Mode
from mmgen.gallery.page import Page, Section, duration, figure, fill
from mmgen.gallery.wording import COLOURS, described, listed, title, word
from mmgen.results import METRICS, base_metric, metric_name

SECONDS_A_PASS, SECONDS_AT_REST = 0.13, 2.2  # as in page.js


def image_page(material: Material) -> Page:
    """The whole page."""
    ways = f"{word(len(material.modes))} way{'s' if len(material.modes) != 1 else ''}"
    made = material.reconstruction
    figures = [
        (f"{made.psnr_db:.1f} dB", "PSNR of held-out reconstructions"),
        (f"{made.bits_per_image:,.0f} bits", "an image, as tokens"),
        (f"{100 * material.judge_accuracy:.1f} %", "held-out accuracy of the judge"),
        (duration(material.total_seconds), "from nothing to this page"),
    ]
    accuracies = [on_judge(mode, "class_accuracy", material) for mode in material.modes]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    if known:
        figures.insert(2, (f"{100 * min(known):.1f} %", "of samples right, in the weakest mode"))
    lead = (
        "A tokenizer and one transformer, trained from scratch on handwritten digits. The same weights then generate in"
        f" {ways}: {listed([title(mode.name).lower() for mode in material.modes])}."
    )
    sections = [section for make in SECTIONS if (section := make(material)) is not None]
    head = f"One checkpoint, {ways} to generate"
    return Page(head, lead, pictures.hero(material), figures, material.facts, material.commands, sections)


def reconstruction(material: Material) -> Section:
    """Real above reconstructed."""
    made = material.reconstruction
    body = fill(
        "reconstruction.html",
        pairs=pictures.pairs(made),
        bits=made.bits_per_image,
        tokens=made.tokens,
        psnr=f"{made.psnr_db:.2f}",
        samples=f"{made.samples:,}",
        line=made.command,
    )
    return Section("tokenizer", "Real and reconstructed", body)


def samples(material: Material) -> Section:
    """A grid a mode, by class."""
    shown = []
    for mode in material.modes:
        accuracy, fid = on_judge(mode, "class_accuracy", material), on_judge(mode, "fid", material)
        looks = {
            "grid": pictures.sample_grid(mode, material.class_names),
            "class_accuracy": "–" if accuracy is None else figure(accuracy, "class_accuracy"),
            "fid": "–" if fid is None else figure(fid),
        }
        costs = {name: getattr(mode, name) for name in ("steps", "forward_passes", "seconds_per_sample", "command")}
        shown.append(described(mode.name) | looks | costs)
    body = fill(
        "samples.html",
        modes=shown,
        classes=material.class_names,
        count=len(material.modes[0].images),
        words=word(len(shown)),
        any_judged=any(mode.judged is not None for mode in material.modes),
        judge=material.judge,
        samples=f"{material.modes[0].samples:,}",
    )
    return Section("samples", "Samples", body)


def decoding(material: Material) -> Section:
    """The films, on one clock."""
    longest = max(mode.film.passes[-1] for mode in material.modes)
    ticks = longest + SECONDS_AT_REST / SECONDS_A_PASS
    shown = []
    for mode in material.modes:
        film = pictures.thinned(mode.film)
        frames, sample = len(film.passes), min(3, film.images.shape[1] - 1)
        strip = pictures.film_strip(film, mode.name)
        shown.append(
            described(mode.name)
            | {
                "film": strip,
                "height": strip.height // frames,
                "frames": frames,
                "end": round(-100 * (frames - 1) / frames, 4),
                "share": round(100 * film.passes[-1] / ticks, 2),
                "passes": film.passes,
                "order": order_map(mode.film, sample, title(mode.name)),
                "stills": pictures.stills(film, sample, mode.name),
            }
        )
    body = fill("decoding.html", modes=shown, longest=longest, seconds=f"{ticks * SECONDS_A_PASS:.2f}")
    return Section("decoding", "How they come about", body)


def completion(material: Material) -> Section | None:
    """Halves of real digits, filled in."""
    if not material.completions:
        return None
    shown = []
    for each in material.completions:
        modes = [
            described(name) | {"filled": pictures.completed(each, name), "command": each.commands[name]}
            for name in each.filled
        ]
        original, kept = pictures.given(each)
        note = f"The model was {'' if each.told else 'not '}told that it is a {each.name}."
        share = round(pictures.kept_share(each), 2)
        shown.append({"original": original, "kept": kept, "share": share, "modes": modes, "note": note})
    return Section("completion", "Half a digit, completed", fill("completion.html", completions=shown))


def metrics(material: Material) -> Section:
    """All figures of all modes."""
    names = list(dict.fromkeys(name for mode in material.modes for name in mode.measured))
    rows = [metric_row(name, [mode.measured.get(name) for mode in material.modes], material.judge) for name in names]
    rows.append(metric_row("steps", [mode.steps for mode in material.modes], material.judge))
    shown = [described(mode.name) | {"measure_command": mode.measure_command} for mode in material.modes]
    accuracy = figure(material.judge_accuracy, "accuracy")
    body = fill("metrics.html", modes=shown, rows=rows, judge=material.judge, accuracy=accuracy)
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
    shown = [
        {"picture": pictures.mask_picture(mask), "modes": [described(name) for name in mask.modes]}
        for mask in material.masks
    ]
    used, others = [mask for mask in shown if mask["modes"]], [mask for mask in shown if not mask["modes"]]
    return Section("masks", "Masks", fill("masks.html", used=used, others=others))


SECTIONS = [reconstruction, samples, decoding, completion, metrics, training, masks]


def on_judge(mode: Mode, metric: str, material: Material) -> float | None:
    """A figure on the judge's features."""
    return mode.measured.get(metric_name(metric, material.judge))


def metric_row(name: str, values: list[float | None], extractor: str) -> dict[str, Any]:
    """A row of the table; the best figure of several is marked."""
    better = METRICS.get(base_metric(name, extractor), "neither")
    known = [value for value in values if value is not None]
    best = {"higher": max, "lower": min}[better](known) if better != "neither" and len(set(known)) > 1 else None
    cells = [
        {"text": "–", "best": False} if x is None else {"text": figure(x, name), "best": x == best} for x in values
    ]
    return {"name": name, "cells": cells, "better": "" if better == "neither" else better}

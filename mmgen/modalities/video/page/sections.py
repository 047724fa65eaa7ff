"""The sections of a page on clips, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy, prefix
from mmgen.core.mask import Mask
from mmgen.core.window import Window
from mmgen.modalities.video.page import pictures
from mmgen.page.chapter import Chapter, Column
from mmgen.page.chart import Curve, chart
from mmgen.page.film import Clock, Film
from mmgen.page.page import Picture, Section, fill_from, signed
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import Run, SampleFolder
from mmgen.page.wording import describe_tokens, in_letters, join_words
from mmgen.store.results import Figure, base_metric

fill = partial(fill_from, Path(__file__).parent / "templates")
_SECONDS_AT_REST = 1.2
_CLIPS = 6
"""Of a folder that are entries, at most."""


def reconstruction(chapter: Chapter) -> Section | None:
    """Real clips beside what a tokenizer makes of them."""
    entries = []
    for run, folder, column in chapter.reconstruction_columns():
        decoded, real = _read(folder), _read(folder, recordings=True)
        if decoded is None or real is None:
            continue
        frames = decoded.shape[2]
        films = [
            {"column": Column(title), "film": _film(clips, Column(title), _counted(frames))}
            for title, clips in (("Real", real), ("Reconstructed", decoded))
        ]
        still = pictures.contact_sheet([real[0], decoded[0]], "One clip, frame by frame, above its reconstruction.")
        measured = {each.metric: each for each in run.figures if each.mode is None}
        entries.append({
            "column": column, "films": films, "clock": _clock(folder, frames), "still": still,
            "tokens": describe_tokens(run.spec), "measured": measured, "chunk": run.spec.stride,
            "command": folder.command,
        })  # fmt: skip
    body = fill("reconstruction.html", entries=entries)
    return Section("tokenizer", "Real and reconstructed", body) if entries else None


def prediction(chapter: Chapter) -> Section | None:
    """What really came, what was predicted, and the last given frame copied, on one clock."""
    ways = _ways(chapter, lambda record: bool(record.get("context_frames")) and not _is_longer(record))
    if not ways:
        return None
    _, first, _, clips = ways[0]
    context, frames = int(first.record["context_frames"]), clips.shape[2]
    given = [f"frame {number}, given" for number in range(1, context + 1)]
    entries = [
        {"column": column, "film": _film(made, column, given + _counted(frames, "predicted")[context:])}
        for _, _, column, made in ways
    ]
    rows, names = [made[0] for *_, made in ways], [column.title.lower() for _, _, column, _ in ways]
    real = _read(first, recordings=True)
    if real is not None:
        copied = pictures.copied(real, context)
        grey = Column("What really came"), Column("The last given frame, copied")
        entries.insert(0, {"column": grey[0], "film": _film(real, grey[0], _counted(frames))})
        captions = given + [f"{each}: frame {context} again" for each in _counted(frames)[context:]]
        entries.append({"column": grey[1], "film": _film(copied, grey[1], captions)})
        rows, names = [real[0], *rows, copied[0]], [grey[0].title.lower(), *names, grey[1].title.lower()]
    still = pictures.contact_sheet(rows, f"One clip, frame by frame, a row each: {join_words(names)}.")
    curve, colours = _psnr_curve(chapter, context)
    body = fill(
        "prediction.html", entries=entries, clock=_clock(first, frames), still=still, rows=join_words(names),
        context=in_letters(context), predicted=in_letters(frames - context), numbers=_prediction_numbers(chapter),
        chart=chart(curve, colours) if curve.points else None, lines=[folder.command for _, folder, *_ in ways],
    )  # fmt: skip
    return Section("prediction", "Predicted and true" if real is not None else "Predicted", body)


def rollout(chapter: Chapter) -> Section | None:
    """Longer than training, and what becomes of it."""
    ways = _ways(chapter, _is_longer)
    if not ways:
        return None
    entries = []
    for _, folder, column, clips in ways:
        context, trained = (int(folder.record.get(name) or 0) for name in ("context_frames", "trained_frames"))
        captions = [
            f"{each}, {'given' if place < context else 'as in training' if place < trained else 'beyond training'}"
            for place, each in enumerate(_counted(clips.shape[2]))
        ]
        still = pictures.contact_sheet([clips[0]], f"{column.title}: one rollout, {clips.shape[2]} frames.")
        entries.append({"column": column, "film": _film(clips, column, captions), "still": still})
    run, first, _, clips = ways[0]
    trained, frames = int(first.record["trained_frames"]), max(made.shape[2] for *_, made in ways)
    curve, colours = _drift_curve(chapter, int(first.record.get("context_frames") or 0), trained)
    window = getattr(run.modes.get(first.mode or ""), "window", None)
    ratio = frames / trained
    body = fill(
        "rollout.html", entries=entries, clock=_clock(first, frames), trained=trained, frames=frames,
        times=in_letters(round(ratio)) if ratio == round(ratio) else f"{ratio:.3g}",
        window=window.width if isinstance(window, Window) and len(ways) == 1 else None,
        chart=chart(curve, colours) if curve.points else None, drifts=_figures(chapter, "drift"),
        lines=[folder.command for _, folder, *_ in ways],
    )  # fmt: skip
    return Section("rollout", "Longer than training", body)


def drawn(chapter: Chapter) -> Section | None:
    """Clips from nothing."""
    ways = _ways(chapter, lambda record: not record.get("context_frames") and not _is_longer(record))
    if not ways:
        return None
    entries = []
    for _, folder, column, clips in ways:
        names = [name for name in folder.names("classes")[: len(clips)] if not name.startswith("sample ")]
        columns = min(_CLIPS, len(clips))
        still = pictures.contact_sheet(list(clips[:3]), f"{column.title}: some of them, frame by frame.")
        film = _film(clips, column, _counted(clips.shape[2]), columns)
        entries.append({"column": column, "film": film, "still": still, "heads": names, "command": folder.command})
    frames = max(made.shape[2] for *_, made in ways)
    body = fill("drawn.html", entries=entries, clock=_clock(ways[0][1], frames))
    return Section("classes", "From nothing", body)


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few clips, a row each."""
    folders = [folder for _, folder, _ in (*chapter.sample_columns(), *chapter.reconstruction_columns())]
    for folder in folders:
        clips = _read(folder)
        if clips is not None:
            return pictures.contact_sheet(list(clips[:4]), "Clips, a row each, their frames from left to right.")
    return None


def mask_layout(mask: Mask, frames: int = 6, places: int = 2) -> Layout:
    """A clip of few frames of few tokens, on which a mask over frames is drawn; both streams where it knows two."""
    clip = grid_layout((frames, 1, places), block_size=places)
    return prefix(1) + (clean(clip) + noisy(clip) if "skip_causal" in mask.name else clip)


def _ways(chapter: Chapter, wanted: Callable[[dict[str, Any]], bool]) -> list[tuple[Run, SampleFolder, Column, Tensor]]:
    matches = chapter.sample_columns(lambda folder: "frames" in folder.record and wanted(folder.record))
    clips = [(run, folder, column, _read(folder)) for run, folder, column in matches]
    return [(run, folder, column, made) for run, folder, column, made in clips if made is not None]


def _is_longer(record: dict[str, Any]) -> bool:
    return int(record.get("frames") or 0) > int(record.get("trained_frames") or 0)


def _read(folder: SampleFolder, recordings: bool = False) -> Tensor | None:
    files = folder.recordings(".mp4") if recordings else folder.files(".mp4")
    some = [file for file in files[:_CLIPS] if file is not None]
    return pictures.read_clips(some, float(folder.record["fps"])) if some else None


def _counted(frames: int, what: str = "") -> list[str]:
    return [f"frame {number}, {what}" if what else f"frame {number}" for number in range(1, frames + 1)]


def _film(clips: Tensor, column: Column, captions: list[str], columns: int | None = None) -> Film:
    frames = clips.shape[2]
    alt = f"{column.title}: {len(clips)} clips of {frames} frames."
    return pictures.film(clips, captions, f"{frames} frames", alt, columns)


def _clock(folder: SampleFolder, frames: int) -> Clock:
    return Clock("frame", 1, max(2, frames), round(1 / float(folder.record["fps"]), 4), _SECONDS_AT_REST, "Frame")


def _figures(chapter: Chapter, metric: str) -> list[tuple[Column, Figure]]:
    """Of all modes, each with its column; drift is of rollouts, all else of clips as long as those of training."""
    return [
        (chapter.column(run, each.mode), each)
        for run in chapter.generators
        for each in run.figures
        if base_metric(each.metric, each.extractor) == metric
        and (metric == "drift" or "rollout" not in (each.settings or ""))
    ]


def _psnr_curve(chapter: Chapter, context: int) -> tuple[Curve, dict[str, str]]:
    """PSNR of each predicted frame, of every mode and of copying the last given one."""
    lines = {column: (each.protocol or {}).get("per_frame") for column, each in _figures(chapter, "psnr_db")}
    curves = {column.title: values for column, values in lines.items() if values}
    for _, gain in _figures(chapter, "next_frame_gain_db")[:1]:
        values = (gain.protocol or {}).get("per_frame")
        if values and curves:
            curves["copied"] = [psnr - more for psnr, more in zip(next(iter(curves.values())), values)]
    points = {
        name: [(float(frame), psnr) for frame, psnr in enumerate(values, context + 1)]
        for name, values in curves.items()
    }
    colours = {column.title: column.colour for column in lines}
    return Curve("Prediction: PSNR in dB", {}, points, "frames", {float(context): "predicted"}), colours


def _drift_curve(chapter: Chapter, context: int, trained: int) -> tuple[Curve, dict[str, str]]:
    """How far the frames of each window are from real ones, drawn at the end of each window."""
    points, colours = {}, {}
    for column, each in _figures(chapter, "drift"):
        protocol = each.protocol or {}
        for name, key in ((column.title, "per_window"), ("real clips", "per_window_real")):
            if protocol.get(key):
                ends = [(context + (i + 1) * protocol["window"], value) for i, value in enumerate(protocol[key])]
                points[name] = ends
        colours[column.title] = column.colour
    return Curve("Drift", {}, points, "frames", {float(trained): "beyond training"}), colours


def _prediction_numbers(chapter: Chapter) -> list[dict[str, Any]]:
    psnr = dict(_figures(chapter, "psnr_db"))
    gain = dict(_figures(chapter, "next_frame_gain_db"))
    return [
        {
            "column": column,
            "psnr": f"{each.value:.2f}",
            "copied": f"{each.value - gain[column].value:.2f}",
            "gain": signed(gain[column].value, 2),
            "samples": f"{each.samples:,}",
        }
        for column, each in psnr.items()
        if column in gain
    ]


PARTS = PageParts(
    sections=(reconstruction, prediction, rollout, drawn),
    opening_picture=opening_picture,
    headlines=(
        Headline("bits_per_frame", "a frame, as tokens", write=lambda value: f"{value:,.0f} bits"),
        Headline(
            "next_frame_gain_db", "PSNR of predicted frames over copying the last one",
            write=lambda value: f"{signed(value)} dB",
        ),
        Headline("drift", "drift of rollouts, at best ({way})"),
        Headline("latency_ms", "to stream a chunk there and back", write=lambda value: f"{value:.3g} ms"),
    ),
    plural="clips",
    mask_layout=mask_layout,
)  # fmt: skip

"""The sections of a page on clips, a function each: a new section is one function more, in `PARTS`."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup
from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy, prefix
from mmgen.core.mask import Mask
from mmgen.core.window import Window
from mmgen.modalities.video.page import pictures
from mmgen.page.chapter import Card, Chapter, Column, Way
from mmgen.page.chart import Curve, draw_charts
from mmgen.page.page import Picture, Section, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import SampleFolder
from mmgen.page.tiles import Clock
from mmgen.page.wording import describe_tokens, duration, figure, in_letters, join_words, signed
from mmgen.store.results import Figure, base_metric

_SECONDS_AT_REST = 1.2
_CLIPS = 6
"""Of a folder on the page, at most."""

Clips = list[tuple[Way, Tensor]]
"""Folders of samples and what is in them: (B, C, T, H, W)."""


def reconstruction(chapter: Chapter) -> Section | None:
    """Real clips beside what a tokenizer makes of them."""
    body: list[Markup] = []
    ways = chapter.reconstructions()
    for run, folder, column in ways:
        decoded, real = _read(folder), _read(folder, recordings=True)
        if decoded is None or real is None:
            continue
        clock = _clock(folder, decoded.shape[2])
        cards = [_card(clips, Column(title), clock) for title, clips in (("Real", real), ("Reconstructed", decoded))]
        still = pictures.contact_sheet([real[0], decoded[0]], "One clip, frame by frame, above its reconstruction.")
        measured = {each.metric: each for each in run.figures if each.mode is None}
        lead = f"{f'{column.title}: held-out clips' if len(ways) > 1 else 'Held-out clips'}, and what is left of them"
        lead += f" after {describe_tokens(run.spec)}"
        if bits := measured.get("bits_per_frame"):
            lead += f", {figure(bits.value)} bits a frame"
        if psnr := measured.get("psnr_db"):
            lead += f": **{psnr.value:.2f} dB** over {psnr.samples:,} clips that the tokenizer has never seen"
        lead += "."
        if latency := measured.get("latency_ms"):
            chunk = "a frame" if run.spec.stride == 1 else f"{run.spec.stride} frames"
            time = duration(latency.value / 1000)
            lead += f" It looks back only, so it follows a stream: {chunk} in {time}, there and back."
        caption = "One clip, frame by frame. Above: real. Below: encoded and decoded again."
        body += [
            parts.paragraph(lead), parts.columns(cards, clock),
            parts.still(still, caption, "A clip and its reconstruction, frame by frame"), parts.command(folder.command),
        ]  # fmt: skip
    return Section("tokenizer", "Real and reconstructed", body) if body else None


def prediction(chapter: Chapter) -> Section | None:
    """What really came, what was predicted, and the last given frame copied, on one clock."""
    ways = _read_ways(chapter, lambda record: bool(record.get("context_frames")) and not _is_rollout(record))
    if not ways:
        return None
    first, clips = ways[0][0].folder, ways[0][1]
    context, frames = int(first.record["context_frames"]), clips.shape[2]
    clock, given, later = _clock(first, frames), _captions(context, "given"), slice(context, None)
    rows = [(way.column, made, given + _captions(frames, "predicted")[later]) for way, made in ways]
    real = _read(first, recordings=True)
    if real is not None:
        repeats = [f"{each}: frame {context} again" for each in _captions(frames)[later]]
        rows = [
            (Column("What really came"), real, _captions(frames)),
            *rows,
            (Column("The last given frame, copied"), pictures.copied(real, context), given + repeats),
        ]
    names = join_words([column.title.lower() for column, *_ in rows])
    still = pictures.contact_sheet([made[0] for _, made, _ in rows], f"One clip, frame by frame, a row each: {names}.")
    caption = f"The first clip, frame by frame; from above: {names}. The first {in_letters(context)} frames are given."
    lead = (
        f"The model is given the first {in_letters(context)} frames of clips that it has never seen, and goes on for"
        f" {in_letters(frames - context)}."
    )
    body = [
        parts.paragraph(" ".join([lead, *_gains(chapter)])),
        parts.columns([_card(made, column, clock, captions) for column, made, captions in rows], clock),
        parts.still(still, caption, "One clip, frame by frame"),
        *draw_charts([_psnr_curve(chapter, context)]),
        _commands(ways),
    ]
    return Section("prediction", "Predicted and true" if real is not None else "Predicted", body)


def rollout(chapter: Chapter) -> Section | None:
    """Longer than training, and what becomes of it."""
    ways = _read_ways(chapter, _is_rollout)
    if not ways:
        return None
    run, first, _ = ways[0][0]
    trained, frames = int(first.record["trained_frames"]), max(made.shape[2] for _, made in ways)
    clock, cards, stills = _clock(first, frames), [], []
    for way, clips in ways:
        context = int(way.folder.record.get("context_frames") or 0)
        captions = _captions(context, "given") + _captions(trained, "as in training")[context:]
        captions += _captions(clips.shape[2], "beyond training")[trained:]
        cards.append(_card(clips, way.column, clock, captions))
        title = way.column.title
        still = pictures.contact_sheet([clips[0]], f"{title}: one rollout, {clips.shape[2]} frames.")
        caption = f"{title}: the first clip, from its first frame to its last."
        stills.append(parts.still(still, caption, "A rollout, frame by frame"))
    ratio = frames / trained
    times = in_letters(round(ratio)) if ratio == round(ratio) else f"{ratio:.3g}"
    lead = f"The model was trained on clips of {trained} frames. Here it goes on to {frames}, {times} times as many."
    window = getattr(run.modes.get(first.mode or ""), "window", None)
    if isinstance(window, Window) and len(ways) == 1:
        lead += (
            f" A frame sees {window.width} frames, itself among them, and older ones leave the cache: a frame costs the"
            " same at the end as at the beginning."
        )
    charts = draw_charts([_drift_curve(chapter, int(first.record.get("context_frames") or 0), trained)])
    text = "over {:,} clips, the last window's distance less that of the first."
    drifts = [
        (column, f"`{each.metric}` {figure(each.value)} {text.format(each.samples)}")
        for column, each in _figures(chapter, "drift")
    ]
    notes = [
        parts.remarks(drifts),
        parts.paragraph("The line of real clips says how much windows differ anyway.", "note"),
    ]
    body = [parts.paragraph(lead), parts.columns(cards, clock), *stills, *charts, *(notes if charts else []),
            _commands(ways)]  # fmt: skip
    return Section("rollout", "Longer than training", body)


def drawn(chapter: Chapter) -> Section | None:
    """Clips from nothing."""
    ways = _read_ways(chapter, lambda record: not record.get("context_frames") and not _is_rollout(record))
    if not ways:
        return None
    clock, cards, stills = _clock(ways[0][0].folder, max(made.shape[2] for _, made in ways)), [], []
    for (_, folder, column), clips in ways:
        names = [name for name in folder.names("classes")[: len(clips)] if not name.startswith("sample ")]
        cards.append(_card(clips, column, clock, columns=min(_CLIPS, len(clips)), heads=names))
        still = pictures.contact_sheet(list(clips[:3]), f"{column.title}: some of them, frame by frame.")
        caption = f"{column.title}: the first of them, frame by frame."
        stills += [parts.still(still, caption, "Clips, frame by frame"), parts.command(folder.command)]
    lead = parts.paragraph("No frame is given. A fresh draw each; nothing was picked.")
    return Section("classes", "From nothing", [lead, parts.columns(cards, clock), *stills])


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few clips, a row each."""
    clips = (_read(way.folder) for way in (*chapter.samples(), *chapter.reconstructions()))
    first = next((each for each in clips if each is not None), None)
    alt = "Clips, a row each, their frames from left to right."
    return None if first is None else pictures.contact_sheet(list(first[:4]), alt)


def mask_layout(mask: Mask, frames: int = 6, places: int = 2) -> Layout:
    """A clip of few frames of few tokens, on which a mask over frames is drawn; both streams where it knows two."""
    clip = grid_layout((frames, 1, places), block_size=places)
    return prefix(1) + (clean(clip) + noisy(clip) if "skip_causal" in mask.name else clip)


def _read_ways(chapter: Chapter, wanted: Callable[[dict[str, Any]], bool]) -> Clips:
    ways = chapter.samples(lambda record: "frames" in record and wanted(record))
    return [(way, clips) for way in ways if (clips := _read(way.folder)) is not None]


def _is_rollout(record: dict[str, Any]) -> bool:
    return int(record.get("frames") or 0) > int(record.get("trained_frames") or 0)


def _read(folder: SampleFolder, recordings: bool = False) -> Tensor | None:
    files = folder.recordings(".mp4") if recordings else folder.files(".mp4")
    some = [file for file in files[:_CLIPS] if file is not None]
    return pictures.read_clips(some, float(folder.record["fps"])) if some else None


def _captions(frames: int, what: str = "") -> list[str]:
    return [f"frame {number}, {what}" if what else f"frame {number}" for number in range(1, frames + 1)]


def _card(
    clips: Tensor, column: Column, clock: Clock, captions: list[str] | None = None, columns: int | None = None,
    heads: list[str] | None = None,
) -> Card:  # fmt: skip
    film = pictures.film(clips, captions or _captions(clips.shape[2]), column.title, columns)
    return Card(column, parts.film(film, clock), heads=heads or [])


def _clock(folder: SampleFolder, frames: int) -> Clock:
    return Clock("frame", 1, max(2, frames), round(1 / float(folder.record["fps"]), 4), _SECONDS_AT_REST)


def _commands(ways: Clips) -> Markup:
    block: Markup = parts.commands([way.folder.command for way, _ in ways])
    return block


def _figures(chapter: Chapter, metric: str) -> list[tuple[Column, Figure]]:
    """Of all modes, each with its column; drift is of rollouts, all else of clips as long as those of training."""
    return [
        (chapter.column(run, each.mode), each)
        for run in chapter.generators
        for each in run.figures
        if base_metric(each.metric, each.extractor) == metric
        and (metric == "drift" or "rollout" not in (each.settings or ""))
    ]


def _psnr_curve(chapter: Chapter, context: int) -> Curve:
    """PSNR of each predicted frame, of every mode and of copying the last given one."""
    colours, values = {}, {}
    for column, each in _figures(chapter, "psnr_db"):
        if per_frame := (each.protocol or {}).get("per_frame"):
            colours[column.title], values[column.title] = column.colour, per_frame
    for _, gain in _figures(chapter, "next_frame_gain_db")[:1]:
        gains = (gain.protocol or {}).get("per_frame")
        if gains and values:
            values["copied"] = [psnr - more for psnr, more in zip(next(iter(values.values())), gains)]
    points = {
        name: [(float(frame), psnr) for frame, psnr in enumerate(row, context + 1)] for name, row in values.items()
    }
    title = "PSNR in dB of each predicted frame"
    return Curve(title, {}, points, colours, "frames", {float(context): "predicted"})


def _drift_curve(chapter: Chapter, context: int, trained: int) -> Curve:
    """How far the frames of each window are from real ones, drawn at the end of each window."""
    title = "Drift: distance from real frames, window after window; the lower the better"
    curve = Curve(title, axis="frames", marks={float(trained): "beyond training"})
    for column, each in _figures(chapter, "drift"):
        protocol = each.protocol or {}
        for name, key in ((column.title, "per_window"), ("real clips", "per_window_real")):
            if values := protocol.get(key):
                curve.points[name] = [(context + (i + 1) * protocol["window"], value) for i, value in enumerate(values)]
        curve.colours[column.title] = column.colour
    return curve


def _gains(chapter: Chapter) -> list[str]:
    """A sentence for each mode: how much better it predicts than the last given frame."""
    gains = dict(_figures(chapter, "next_frame_gain_db"))
    measured = [(column, each, gains[column].value) for column, each in _figures(chapter, "psnr_db") if column in gains]
    return [
        f"{f'{column.title}: over' if len(measured) > 1 else 'Over'} {each.samples:,} held-out clips its frames are at"
        f" **{each.value:.2f} dB**, and the last given frame, copied, is at {each.value - gain:.2f} dB: a gain of"
        f" **{signed(gain, 2)} dB**."
        for column, each, gain in measured
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

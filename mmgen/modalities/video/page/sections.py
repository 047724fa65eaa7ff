"""The sections of a page on clips, a function each: a new section is one function more, in `PARTS`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from markupsafe import Markup
from torch import Tensor

from mmgen.core.layout import Layout, clean, grid_layout, noisy, prefix
from mmgen.core.mask import Mask
from mmgen.core.window import Window
from mmgen.media.video import read_clip
from mmgen.media.video_file import read_header
from mmgen.page.chapter import Card, Chapter, Column, Way
from mmgen.page.chart import Curve, draw_charts
from mmgen.page.page import Picture, Section, parts
from mmgen.page.parts import Headline, PageParts
from mmgen.page.runs import SampleFolder
from mmgen.page.tiles import GAP, LONGEST, Clock, make_film, picture, pixels, sheet, spread
from mmgen.page.wording import describe_tokens, duration, figure, in_letters, join_words, signed
from mmgen.store.results import Figure

_CLIPS, _SHEET = 6, 16  # clips of a folder and frames of a contact sheet, at most
_TIMES, _LARGE = 2, 128  # times that frames are enlarged where there is room, pixels that large ones are shrunk to

Clips = list[tuple[Way, Tensor]]
"""Folders of samples and what is in them: (B, C, T, H, W)."""


def reconstruction(chapter: Chapter) -> Section | None:
    """Real clips beside what a tokenizer makes of them."""
    body: list[Markup | str] = []
    ways = chapter.reconstructions()
    for run, folder, column in ways:
        decoded, real = _read(folder), _read(folder, recordings=True)
        if decoded is None or real is None:
            continue
        clock = _clock(folder, decoded.shape[2])
        cards = [_card(clips, Column(title), clock) for title, clips in (("Real", real), ("Reconstructed", decoded))]
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
            lead += f" It looks back only, so it follows a stream: {chunk} in {duration(latency.value / 1000)}, there"
            lead += " and back."
        still = _still([real[0], decoded[0]], "One clip, frame by frame. Above: real. Below: encoded, decoded again.")
        body += [lead, parts.columns(cards, clock), still, parts.command(folder.command)]
    return Section("tokenizer", "Real and reconstructed", body) if body else None


def prediction(chapter: Chapter) -> Section | None:
    """What really came, what was predicted, and the last given frame copied, on one clock."""
    ways = _read_ways(chapter, lambda record: bool(record.get("context_frames")) and not _is_rollout(record))
    if not ways:
        return None
    first, clips = ways[0][0].folder, ways[0][1]
    context, frames = int(first.record["context_frames"]), clips.shape[2]
    clock, start = _clock(first, frames), _captions(context, "given")
    rows = [(way.column, made, start + _captions(frames, "predicted")[context:]) for way, made in ways]
    real = _read(first, recordings=True)
    if real is not None:
        copies = start + [f"{each}: frame {context} again" for each in _captions(frames)[context:]]
        rows.insert(0, (Column("What really came"), real, _captions(frames)))
        rows.append((Column("The last given frame, copied"), _copied(real, context), copies))
    names = join_words([column.title.lower() for column, *_ in rows])
    lead = f"The model is given the first {in_letters(context)} frames of clips that it has never seen, and goes on for"
    caption = f"The first clip, frame by frame; from above: {names}. The first {in_letters(context)} frames are given."
    body = [
        " ".join([lead, f"{in_letters(frames - context)}.", *_gains(chapter)]),
        parts.columns([_card(made, column, clock, captions) for column, made, captions in rows], clock),
        _still([made[0] for _, made, _ in rows], caption),
        *draw_charts([_psnr_curve(chapter, context)]),
        parts.commands([way for way, _ in ways]),
    ]
    return Section("prediction", "Predicted and true" if real is not None else "Predicted", body)


def rollout(chapter: Chapter) -> Section | None:
    """Longer than training, and what becomes of it."""
    ways = _read_ways(chapter, _is_rollout)
    if not ways:
        return None
    run, first, _ = ways[0][0]
    trained, frames = int(first.record["trained_frames"]), max(made.shape[2] for _, made in ways)
    context, clock, cards, stills = int(first.record.get("context_frames") or 0), _clock(first, frames), [], []
    for way, clips in ways:
        captions = _captions(context, "given") + _captions(trained, "as in training")[context:]
        captions += _captions(clips.shape[2], "beyond training")[trained:]
        cards.append(_card(clips, way.column, clock, captions))
        stills.append(_still([clips[0]], f"{way.column.title}: the first clip, from its first frame to its last."))
    times = in_letters(frames // trained) if frames % trained == 0 else f"{frames / trained:.3g}"
    lead = f"The model was trained on clips of {trained} frames. Here it goes on to {frames}, {times} times as many."
    window = getattr(run.modes.get(first.mode or ""), "window", None)
    if isinstance(window, Window) and len(ways) == 1:
        lead += f" A frame sees {window.width} frames, itself among them, and older ones leave the cache: a frame costs"
        lead += " the same at the end as at the beginning."
    drifts = [
        (column, f"`{each.metric}` {figure(each.value)} over {each.samples:,} clips, the last window's distance less"
         " that of the first.")
        for column, each in _figures(chapter, "drift")
    ]  # fmt: skip
    body = [lead, parts.columns(cards, clock), *stills, *draw_charts([_drift_curve(chapter, context, trained)])]
    if drifts:
        note = "The line of real clips says how much windows differ from one another anyway."
        body += [parts.remarks(drifts), parts.paragraph(note, "note")]
    return Section("rollout", "Longer than training", [*body, parts.commands([way for way, _ in ways])])


def drawn(chapter: Chapter) -> Section | None:
    """Clips from nothing."""
    ways = _read_ways(chapter, lambda record: not record.get("context_frames") and not _is_rollout(record))
    if not ways:
        return None
    clock, cards, stills = _clock(ways[0][0].folder, max(made.shape[2] for _, made in ways)), [], []
    for (_, folder, column), clips in ways:
        names = [name for name in folder.names("classes")[: len(clips)] if not name.startswith("sample ")]
        cards.append(_card(clips, column, clock, heads=names))
        stills += [_still(list(clips[:3]), f"{column.title}: the first of them, frame by frame."),
                   parts.command(folder.command)]  # fmt: skip
    lead = "No frame is given. A fresh draw each; nothing was picked."
    return Section("classes", "From nothing", [lead, parts.columns(cards, clock), *stills])


def opening_picture(chapter: Chapter) -> Picture | None:
    """A few clips, a row each."""
    clips = (_read(way.folder) for way in (*chapter.samples(lambda record: True), *chapter.reconstructions()))
    first = next((each for each in clips if each is not None), None)
    alt = "Clips, a row each, their frames from left to right."
    return None if first is None else contact_sheet(list(first[:4]), alt)


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
    return read_clips(some, float(folder.record["fps"])) if some else None


def read_clips(files: Sequence[Path], fps: float) -> Tensor:
    """Video files of one size and length as (B, C, T, H, W) in [-1, 1]; large frames are shrunk."""
    header = read_header(files[0])
    scale = min(1.0, _LARGE / max(header.size))
    size = tuple(round(scale * side) for side in header.size)
    frames = max(1, round(header.seconds * fps))
    return torch.stack([read_clip(file, (3, frames, *size), fps) for file in files])


def contact_sheet(rows: list[Tensor], alt: str) -> Picture:
    """Single clips (C, T, H, W) under each other, their frames from left to right."""
    chosen = spread(rows[0].shape[1], _SHEET)
    tiles = torch.stack([clip[:, chosen] for clip in rows])
    return picture(sheet(pixels(rearrange(tiles, "b c t h w -> (b t) c h w"), _TIMES), len(chosen)), alt)


def _copied(clips: Tensor, context: int) -> Tensor:
    """The clips as they would be if nothing moved after the context."""
    last = clips[:, :, context - 1 : context]
    return torch.cat([clips[:, :, :context], last.expand_as(clips[:, :, context:])], dim=2)


def _captions(frames: int, what: str = "") -> list[str]:
    return [f"frame {number}, {what}" if what else f"frame {number}" for number in range(1, frames + 1)]


def _card(clips: Tensor, column: Column, clock: Clock, captions: Sequence[str] = (), heads: Sequence[str] = ()) -> Card:
    """Clips side by side as one film, in two rows where there are more than four, unless each has a name above it."""
    count, _, frames, height, _ = clips.shape
    columns = count if count <= 4 or heads else math.ceil(count / 2)
    fits = frames * math.ceil(count / columns) * (_TIMES * height + GAP) <= LONGEST
    tiles = pixels(rearrange(clips, "b c t h w -> t b c h w"), _TIMES if fits else 1)
    alt, captions = f"{column.title}: {count} clips of {frames} frames.", captions or _captions(frames)
    reel = make_film(tiles, columns, range(1, frames + 1), captions, f"{frames} frames", alt)
    return Card(column, parts.film(reel, clock), heads=heads)


def _clock(folder: SampleFolder, frames: int) -> Clock:
    return Clock("frame", 1, max(2, frames), round(1 / float(folder.record["fps"]), 4), rest=1.2)


def _still(rows: list[Tensor], caption: str) -> Markup:
    block: Markup = parts.still(contact_sheet(rows, caption), caption)
    return block


def _figures(chapter: Chapter, metric: str) -> list[tuple[Column, Figure]]:
    """Of all modes; drift is of rollouts, all else of clips as long as those of training."""
    figures = [(column, each) for column, each in chapter.figures(metric) if each.mode is not None]
    return [(column, each) for column, each in figures if metric == "drift" or "rollout" not in (each.settings or "")]


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
        Headline("bits_per_frame", "a frame, as tokens", form="{:,.0f} bits"),
        Headline("next_frame_gain_db", "PSNR of predicted frames over copying the last one", form="{:+.1f} dB"),
        Headline("drift", "drift of rollouts, at best ({way})"),
        Headline("latency_ms", "to stream a chunk there and back", form="{:.3g} ms"),
    ),
    plural="clips",
    mask_layout=mask_layout,
)

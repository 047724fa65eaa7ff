"""The page of a video run, a function a section: a new section is one function more, in `SECTIONS`."""

from typing import Any

from torch import Tensor

from mmgen.modalities.video.page import pictures
from mmgen.modalities.video.page.story import VideoMode, VideoStory
from mmgen.page import sections
from mmgen.page.film import Clock
from mmgen.page.page import Page, Section, duration, figure, fill, signed
from mmgen.page.sections import coloured, metric_row
from mmgen.page.story import Curve
from mmgen.page.wording import described, listed, title, word

SECONDS_AT_REST = 1.2
COPY, REAL = "copy", "real"
"""Lines of charts beside those of modes."""


def video_page(story: VideoStory) -> Page:
    """The whole page."""
    best = max(story.modes, key=lambda mode: mean(mode.prediction.gain))
    made = story.reconstruction
    longest = best.rollout.clips.shape[2]
    figures = [
        (f"{made.measured['psnr_db']:.1f} dB", "PSNR of held-out reconstructions"),
        (f"{signed(mean(best.prediction.gain))} dB", "PSNR of predicted frames over copying the last one"),
        (f"{longest / story.trained:.3g} ×", "the length of training, rolled out"),
        (duration(story.total_seconds), "from nothing to this page"),
    ]
    if "bits_per_frame" in made.measured:
        figures.insert(1, (f"{made.measured['bits_per_frame']:,.0f} bits", "a frame, as tokens"))
    if "latency_ms" in made.measured:
        chunk = "a frame" if made.chunk == 1 else f"{made.chunk} frames"
        figures.insert(-1, (duration(made.measured["latency_ms"] / 1000), f"to stream {chunk} there and back"))
    ways = listed([title(mode.name).lower() for mode in story.modes])
    lead = (
        "A tokenizer and one transformer, trained from scratch on handwritten digits that move and bounce. The same"
        f" weights go on with clips that they have never seen, and draw new ones, frame after frame: {ways}."
    )
    made_of = [section for make in SECTIONS if (section := make(story)) is not None]
    hero = pictures.hero(best.prediction.clips[:4], story.context)
    return Page(
        "What happens next", lead, hero, figures, story.facts, story.commands, made_of, "mmgen demo video"
    )  # fmt: skip


def reconstruction(story: VideoStory) -> Section:
    """Real beside reconstructed."""
    made = story.reconstruction
    frames = made.originals.shape[2]
    told = [f"frame {number}" for number in range(1, frames + 1)]
    shown = []
    for name, clips in (("Real", made.originals), ("Reconstructed", made.decoded)):
        alt = f"{name}: {len(clips)} held-out clips of {frames} frames."
        shown.append({"title": name, "reel": pictures.reel(clips, told, f"{frames} frames", alt)})
    still = pictures.contact_sheet(
        [made.originals[0], made.decoded[0]], "One held-out clip, frame by frame, above its reconstruction."
    )
    clock = frame_clock(story, frames)
    values: dict[str, Any] = {name: made.measured.get(name) for name in ("bits_per_frame", "latency_ms")}
    body = fill("video/reconstruction.html", shown=shown, clock=clock, still=still, made=made, **values)
    return Section("tokenizer", "Real and reconstructed", body)


def prediction(story: VideoStory) -> Section:
    """Truth, predictions and the last frame copied, on one clock."""
    frames, known = story.truth.shape[2], story.context
    count = [f"frame {number}" for number in range(1, frames + 1)]
    given = [f"{each}, given" for each in count[:known]]
    shown = [
        {"title": "What really came", "colour": "grey", "reel": _reel(story.truth, count, "The real clips")},
        *(
            described(mode.name)
            | {"reel": _reel(mode.prediction.clips, given + [f"{each}, predicted" for each in count[known:]], mode)}
            for mode in story.modes
        ),
        {
            "title": "The last given frame, copied",
            "colour": "grey",
            "reel": _reel(
                pictures.copied(story.truth, known),
                given + [f"{each}: frame {known} again" for each in count[known:]],
                "The last given frame, copied",
            ),
        },
    ]
    rows = [story.truth[0], *(mode.prediction.clips[0] for mode in story.modes), pictures.copied(story.truth, known)[0]]
    names = ["what really came", *(title(mode.name).lower() for mode in story.modes), "the last given frame, copied"]
    still = pictures.contact_sheet(rows, f"One clip, frame by frame, a row each: {listed(names)}.")
    body = fill(
        "video/prediction.html",
        shown=shown,
        clock=frame_clock(story, frames),
        still=still,
        rows=listed(names),
        context=word(known),
        predicted=word(frames - known),
        chart=coloured(psnr_curve(story)),
        modes=[_prediction_numbers(mode) for mode in story.modes],
    )
    return Section("prediction", "Predicted and true", body)


def rollout(story: VideoStory) -> Section:
    """Longer than training, and what becomes of it."""
    frames = story.modes[0].rollout.clips.shape[2]
    shown = []
    for mode in story.modes:
        count = [f"frame {number}" for number in range(1, frames + 1)]
        told = [
            f"{each}, given" if i < story.context else f"{each}, {'as in' if i < story.trained else 'beyond'} training"
            for i, each in enumerate(count)
        ]
        still = pictures.contact_sheet(
            [mode.rollout.clips[0]], f"{title(mode.name)}: one rollout, frames from 1 to {frames}."
        )
        drift = {
            "drift": figure(mode.rollout.drift),
            "metric": mode.rollout.metric,
            "samples": f"{mode.rollout.samples:,}",
        }
        commands = {"command": mode.rollout.command, "measure_command": mode.rollout.measure_command}
        shown.append(
            described(mode.name) | drift | commands | {"reel": _reel(mode.rollout.clips, told, mode), "still": still}
        )
    windows = [mode.window for mode in story.modes if mode.window is not None]
    body = fill(
        "video/rollout.html",
        modes=shown,
        clock=frame_clock(story, frames),
        times=times(story),
        window=max(windows) if len(windows) == len(story.modes) else None,
        trained=story.trained,
        frames=frames,
        chart=coloured(drift_curve(story)),
        real=any(mode.rollout.real_distances for mode in story.modes),
    )
    return Section("rollout", "Longer than training", body)


def classes(story: VideoStory) -> Section:
    """Clips from nothing, of chosen classes."""
    frames = story.modes[0].drawn.shape[2]
    told = [f"frame {number}" for number in range(1, frames + 1)]
    columns = min(6, len(story.modes[0].drawn))
    shown = [
        described(mode.name)
        | {
            "reel": _reel(mode.drawn, told, mode, columns),
            "still": pictures.contact_sheet(list(mode.drawn[:3]), f"{title(mode.name)}: some of them, frame by frame."),
            "command": mode.command,
        }
        for mode in story.modes
    ]
    body = fill(
        "video/classes.html", modes=shown, clock=frame_clock(story, frames), chosen=story.chosen, columns=columns
    )
    return Section("classes", "From nothing", body)


def metrics(story: VideoStory) -> Section:
    """All figures of all modes."""
    every = [mode.prediction.measured | {mode.rollout.metric: mode.rollout.drift} for mode in story.modes]
    names = list(dict.fromkeys(name for measured in every for name in measured))
    rows = [metric_row(name, [measured.get(name) for measured in every]) for name in names]
    rows.append(metric_row("steps", [mode.prediction.steps for mode in story.modes]))
    shown = [
        described(mode.name) | {"commands": [mode.prediction.measure_command, mode.rollout.measure_command]}
        for mode in story.modes
    ]
    kept = [metric_row(name, [value]) for name, value in story.reconstruction.measured.items()]
    body = fill(
        "video/metrics.html", modes=shown, rows=rows, kept=kept, kept_command=story.reconstruction.command,
        samples=f"{story.modes[0].prediction.samples:,}", kept_samples=f"{story.reconstruction.samples:,}",
    )  # fmt: skip
    return Section("metrics", "Metrics", body)


def training(story: VideoStory) -> Section | None:
    """The curves of the runs."""
    return sections.training(story.curves)


def masks(story: VideoStory) -> Section | None:
    """The masks over the frames of a clip, and the rest."""
    return sections.masks(story.masks)


SECTIONS = [reconstruction, prediction, rollout, classes, metrics, training, masks]


def psnr_curve(story: VideoStory) -> Curve:
    """PSNR of each predicted frame, of every mode and of copying."""
    first = story.context + 1
    made = story.modes[0].prediction
    curves = {mode.name: mode.prediction.psnr for mode in story.modes}
    curves[COPY] = [psnr - gain for psnr, gain in zip(made.psnr, made.gain)]
    points = {name: [(float(frame), psnr) for frame, psnr in enumerate(psnrs, first)] for name, psnrs in curves.items()}
    return Curve("Prediction", "PSNR in dB", {}, points, "frames", {float(story.context): "predicted"})


def drift_curve(story: VideoStory) -> Curve:
    """How far the frames of each window are from real ones, drawn at the end of each window."""

    def over_time(mode: VideoMode, distances: list[float]) -> list[tuple[float, float]]:
        return [(story.context + (i + 1) * mode.rollout.window, value) for i, value in enumerate(distances)]

    points = {mode.name: over_time(mode, mode.rollout.distances) for mode in story.modes}
    told = next((mode for mode in story.modes if mode.rollout.real_distances), None)
    if told is not None and told.rollout.real_distances is not None:
        points[REAL] = over_time(told, told.rollout.real_distances)
    return Curve(
        "Rollout", "distance from real frames", {}, points, "frames", {float(story.trained): "beyond training"}
    )


def frame_clock(story: VideoStory, frames: int) -> Clock:
    """Of a row of clips."""
    return Clock("frame", 1, frames, round(1 / story.fps, 4), SECONDS_AT_REST, "Frame")


def times(story: VideoStory) -> str:
    """How many times the length of training rollouts have."""
    ratio = story.modes[0].rollout.clips.shape[2] / story.trained
    return word(round(ratio)) if ratio == round(ratio) else f"{ratio:.3g}"


def mean(values: list[float]) -> float:
    """Of at least one."""
    return sum(values) / len(values)


def _reel(clips: Tensor, told: list[str], what: VideoMode | str, columns: int | None = None) -> Any:
    name, frames = what if isinstance(what, str) else title(what.name), clips.shape[2]
    return pictures.reel(clips, told, f"{frames} frames", f"{name}: {len(clips)} clips of {frames} frames.", columns)


def _prediction_numbers(mode: VideoMode) -> dict[str, Any]:
    made = mode.prediction
    return described(mode.name) | {
        "gain": signed(mean(made.gain), 2),
        "psnr": f"{mean(made.psnr):.2f}",
        "copied": f"{mean(made.psnr) - mean(made.gain):.2f}",
        "samples": f"{made.samples:,}",
        "command": made.command,
        "measure_command": made.measure_command,
    }

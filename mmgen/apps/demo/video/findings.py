"""From what the demo of clips measured to its page and its metrics.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mmgen.apps.demo.findings import Findings, in_words
from mmgen.apps.demo.video.settings import VideoSettings
from mmgen.core.layout import Layout, clean, grid_layout, noisy
from mmgen.core.layout import prefix as condition
from mmgen.core.mask import Mask
from mmgen.core.window import Window
from mmgen.data.held_out import held_out_clips
from mmgen.evaluation.extractors import as_floats
from mmgen.modalities.video.evaluation.frame_metrics import ClipReport
from mmgen.modalities.video.page import video_page
from mmgen.modalities.video.page.story import ClipReconstruction, Prediction, Rollout, VideoMode, VideoStory
from mmgen.modalities.video.sampling import VideoSamples
from mmgen.page.collect import mask_pictures
from mmgen.page.page import Page

FPS = 8.0
"""Of clips whose source does not say."""

DRIFT = "drift"


@dataclass(frozen=True, eq=False)
class ModeFindings:
    """What was found about one way of sampling.

    Args:
        mode: its name.
        prediction: of held-out clips, as long as those of training.
        rollout: of the same, longer.
        shown: predictions that the page shows.
        rolled: rollouts that it shows.
        drawn: clips from nothing.
        commands: each of these -> the command that repeats it.
    """

    mode: str
    prediction: ClipReport
    rollout: ClipReport
    shown: VideoSamples
    rolled: VideoSamples
    drawn: VideoSamples
    commands: dict[str, str]


@dataclass(frozen=True, eq=False)
class VideoFindings(Findings):
    """Everything that was found about clips.

    Args:
        kept: of the tokenizer.
        found: a mode each.
    """

    settings: VideoSettings
    kept: ClipReport
    found: list[ModeFindings]

    def own_figures(self) -> dict[str, Any]:
        return {
            "reconstruction": {**self.kept.values, "samples": len(self.kept.clips)},
            "modes": {
                each.mode: {
                    name: {
                        **report.values,
                        "context_frames": self.settings.context,
                        "frames": report.clips.shape[2],
                        "samples": len(report.clips),
                        "steps": report.steps,
                        "command": each.commands[name],
                    }
                    for name, report in (("prediction", each.prediction), ("rollout", each.rollout))
                }
                for each in self.found
            },
        }

    def page(self, total_seconds: Callable[[], float]) -> Page:
        modes = [self._mode(each) for each in self.found]
        made = [line for each in self.found for line in each.commands.values()]
        _, frames, height, width = self.source.sample_shape
        fps = self.source.fps or FPS
        clips = f"clips of {frames} frames of {height} × {width} at {fps:g} a second"
        story = VideoStory(
            fps=fps,
            trained=frames,
            context=self.settings.context,
            truth=held_out_clips(self.source.samples("val"), self.settings.shown)["x"],
            reconstruction=self._reconstruction(),
            modes=modes,
            chosen=list(self.settings.chosen) if self.loaded.generator.classes else [],
            curves=self.curves(),
            masks=mask_pictures(self.loaded.paradigm.modes(), frames_shown),
            facts=self.facts(clips),
            total_seconds=total_seconds(),
            commands=[*self.commands, *made],
        )
        return video_page(story)

    def _reconstruction(self) -> ClipReconstruction:
        count = min(self.settings.shown, len(self.kept.clips))
        originals = self.source.samples("val").take(torch.arange(count))["x"]
        spec, command = self.loaded.spec, next(line for line in self.commands if line.startswith("mmgen evaluate"))
        return ClipReconstruction(
            originals, as_floats(self.kept.clips[:count]), self.kept.values, len(self.kept.clips), in_words(spec),
            spec.stride, command,
        )  # fmt: skip

    def _mode(self, each: ModeFindings) -> VideoMode:
        curves = {figure.metric: figure.protocol.get("per_frame") for figure in each.prediction.figures}
        psnr, gain = curves["psnr_db"], curves["next_frame_gain_db"]
        drift = next(figure for figure in each.rollout.figures if figure.metric == DRIFT)
        told, commands = drift.protocol, each.commands
        assert psnr is not None and gain is not None and each.prediction.steps is not None
        prediction = Prediction(
            each.shown.clips, psnr, gain, each.prediction.values, len(each.prediction.clips), each.prediction.steps,
            commands["shown"], commands["prediction"],
        )  # fmt: skip
        rollout = Rollout(
            each.rolled.clips, told["per_window"], told.get("per_window_real"), told["window"], drift.name, drift.value,
            len(each.rollout.clips), commands["rolled"], commands["rollout"],
        )  # fmt: skip
        window = getattr(self.loaded.paradigm.modes()[each.mode], "window", None)
        sees = window.width if isinstance(window, Window) else None
        return VideoMode(each.mode, sees, prediction, rollout, each.drawn.clips, commands["drawn"])


def frames_shown(mask: Mask, frames: int = 6, places: int = 2) -> Layout:
    """A clip of few frames of few tokens, on which a mask over frames is drawn; both streams where it knows two."""
    clip = grid_layout((frames, 1, places), block_size=places)
    return condition(1) + (clean(clip) + noisy(clip) if "skip_causal" in mask.name else clip)

"""From what the demo of images measured to its page and its metrics.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mmgen.apps.cli import evaluate, sample
from mmgen.apps.demo.findings import Findings, in_words
from mmgen.apps.demo.image.settings import ImageSettings
from mmgen.apps.demo.settings import SEED, repeating
from mmgen.core.tokens import Tokens
from mmgen.media.images import save_png
from mmgen.modalities.image.evaluation.classifier import Classifier
from mmgen.modalities.image.evaluation.measure import ModeReport, TokenizerReport
from mmgen.modalities.image.page import image_page
from mmgen.modalities.image.page.collect import film
from mmgen.modalities.image.page.story import Completion, ImageStory, Mode, Reconstruction
from mmgen.modalities.image.sampling import region, sample_images
from mmgen.page.collect import mask_pictures
from mmgen.page.page import Page
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import class_labels, require_tokenizer

PAIRS = 20  # reconstructions that the page shows


@dataclass(frozen=True, eq=False)
class ImageFindings(Findings):
    """Everything that was found about images.

    Args:
        kept: figures of the tokenizer, and the held-out images decoded.
        judge: the classifier.
        reports: a mode each.
    """

    settings: ImageSettings
    kept: TokenizerReport
    judge: Classifier
    reports: list[ModeReport]

    def own_figures(self) -> dict[str, Any]:
        judge = self.judge.name
        return {
            "reconstruction": {**self.kept.figures, "samples": len(self.kept.decoded)},
            "classifier": {"accuracy": self.judge.accuracy, "name": judge},
            "modes": {
                report.mode: {
                    **{name.removesuffix(f"_{judge}"): value for name, value in report.figures.items()},
                    "steps": report.sampled.steps,
                    "forward_passes": report.sampled.forward_passes,
                    "samples": len(report.labels),
                    "extractor": judge,
                    "command": self._measure_command(report),
                }
                for report in self.reports
            },
        }

    def page(self, total_seconds: Callable[[], float]) -> Page:
        modes = [self._mode(report) for report in self.reports]
        completions = [self._completion(name, told) for name, told in self.settings.completed.items()]
        made = [line for each in modes for line in (each.measure_command, each.command)]
        story = ImageStory(
            class_names=self.loaded.facts.class_names,
            reconstruction=self._reconstruction(),
            modes=modes,
            completions=completions,
            curves=self.curves(),
            masks=mask_pictures(self.loaded.paradigm.modes()),
            judge=self.judge.name,
            judge_accuracy=self.judge.accuracy,
            facts=self.facts("digits of MNIST")
            | {"Judge": f"{self.judge.name}: {100 * self.judge.accuracy:.1f} % right on held-out digits"},
            total_seconds=total_seconds(),
            commands=[*self.commands, *made, *(line for each in completions for line in each.commands.values())],
        )
        return image_page(story)

    def _reconstruction(self) -> Reconstruction:
        held_out = self.source.samples("val")
        members = [self._held_out(label)[: PAIRS // self.source.classes] for label in range(self.source.classes)]
        spread = torch.cat([each[turn : turn + 1] for turn in range(PAIRS) for each in members])  # classes in turn
        figures = self.kept.figures
        return Reconstruction(
            held_out.take(spread)["x"], self.kept.decoded[spread], figures["psnr_db"], figures["bits_per_image"],
            in_words(self.loaded.spec), len(held_out), f"mmgen evaluate {self.folder / 'tokenizer'}",
        )  # fmt: skip

    def _mode(self, report: ModeReport) -> Mode:
        classes = len(self.loaded.facts.class_names)
        count = min(self.settings.rows * classes, len(report.labels) // classes * classes)
        options = self.settings.sampling.get(report.mode, {})
        labels = class_labels([], classes, self.loaded)
        filmed = sample_images(self.loaded, report.mode, labels, sample_options(options), SEED, keep_states=True)
        assert filmed.states is not None
        return Mode(
            name=report.mode,
            images=report.sampled.images[:count],
            judged=None if report.judged is None else report.judged[:count],
            film=film(require_tokenizer(self.loaded), filmed.states),
            steps=report.sampled.steps,
            forward_passes=report.sampled.forward_passes,
            seconds_per_sample=report.figures["seconds_per_sample"],
            command=repeating("sample", sample.run, path=self.loaded.path, mode=report.mode, num=count, **options),
            measured=report.figures,
            samples=len(report.labels),
            measure_command=self._measure_command(report),
        )

    def _completion(self, name: str, told: bool) -> Completion:
        """A held-out digit of that class, its top kept."""
        tokenizer = require_tokenizer(self.loaded)
        number = self.loaded.facts.class_names.index(name)
        original = self.source.samples("val").take(self._held_out(number)[:1])["x"][0]
        file = self.folder / "completion" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        save_png(original, file)
        kept = region(self.settings.keep, tokenizer.spec)
        known = tokenizer.encode(original[None]).values
        asked, count = (name if told else "none"), self.settings.completions
        labels = class_labels([asked], count, self.loaded)
        filled, commands = {}, {}
        for mode in self.loaded.paradigm.modes():
            options = dict(self.settings.sampling.get(mode, {}))
            if not told:  # there is nothing to guide towards
                options = {name: value for name, value in options.items() if not name.startswith("cfg")}
            drawn = sample_images(
                self.loaded, mode, labels, sample_options(options), SEED, known=known, keep=kept[None]
            )
            filled[mode] = drawn.images
            given = {
                "mode": mode,
                "class_": asked,
                "num": count,
                "keep": file,
                "keep_region": self.settings.keep,
                **options,
            }
            commands[mode] = repeating("sample", sample.run, path=self.loaded.path, **given)
        seen = tokenizer.decode(Tokens(known, tokenizer.spec.grid))[0]
        grid = rearrange(kept, "(t h w) -> t h w", t=tokenizer.spec.grid[0], h=tokenizer.spec.grid[1])
        return Completion(name, told, original, seen, grid, filled, commands)

    def _held_out(self, label: int) -> Tensor:
        """Indices of the held-out images of a class."""
        held_out = self.source.samples("val")
        return (held_out.take(torch.arange(len(held_out)))["label"] == label).nonzero()[:, 0]

    def _measure_command(self, report: ModeReport) -> str:
        options = self.settings.sampling.get(report.mode, {})
        return repeating(
            "evaluate", evaluate.run, path=self.loaded.path, mode=report.mode, num=len(report.labels), **options
        )

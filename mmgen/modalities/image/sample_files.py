"""What `mmgen sample` does for a run that makes images."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.core.tokens import Tokens
from mmgen.evaluation.extractors import Judge
from mmgen.media.images import comfortable, enlarge, grid, read_image, save_animation, save_png, to_uint8
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.evaluation.npz import write_npz
from mmgen.modalities.image.page.film import film_of
from mmgen.modalities.image.sampling import region, sample_images, state_images
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import check_request, class_labels, require_tokenizer, tokens_per_forward
from mmgen.sampling.texts import read_texts, text_values
from mmgen.store.store import Loaded


class ImageSampling:
    """Images that are asked for, then drawn, then written.

    Args:
        loaded: the run.
        arguments: of the command.

    Raises:
        UserError: something that is asked for cannot be done.
    """

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        self.loaded, self.arguments, self.tokenizer = loaded, arguments, require_tokenizer(loaded)
        self.options = sample_options(arguments)
        self.count, self.batch = (64 if arguments[name] is None else arguments[name] for name in ("num", "batch"))
        named = arguments["class_"]
        self.labels = class_labels([name.strip() for name in named.split(",")] if named else [], self.count, loaded)
        self.texts = self._texts()
        self.known, self.preserved = self._inpainting(arguments["inpaint"], arguments["keep_region"])
        check_request(loaded, self.labels, self.options, self.batch)
        self.judge = self._judge() if arguments["judge"] else None

    def _judge(self) -> Judge:
        """The classifier of the run's data."""
        found = get_image_extractor(None, self.tokenizer.sample_shape, device=str(self.loaded.generator.device))
        if not isinstance(found, Judge) or found.classes != self.loaded.generator.classes:
            raise UserError(f"--judge needs a classifier of the classes of {self.loaded.path}, and there is none")
        return found

    def _texts(self) -> list[str] | None:
        """What each sample shows: the texts in turn."""
        given = self.arguments["text"]
        if not given:
            return None
        texts = read_texts(given)
        text_values(self.loaded, texts)
        return [texts[number % len(texts)] for number in range(self.count)]

    def _inpainting(self, source: str | None, part: str | None) -> tuple[Any, Any]:
        """Tokens of the inpainting source, and which of them are preserved."""
        self.source = None
        if source is None and part is None:
            return None, None
        if source is None or part is None:
            lacking = "keep_region needs --inpaint" if source is None else "inpaint needs --keep_region"
            raise UserError(f"--{lacking}: the source, and the region of it that is preserved")
        self.source = image = read_image(source, self.tokenizer.sample_shape, self.arguments["resize"])
        known = self.tokenizer.encode(image[None].to(self.loaded.generator.device)).values
        return known, region(part, self.tokenizer.spec)[None]

    def _names(self, labels: list[int]) -> list[str | None]:
        names = self.loaded.facts.class_names
        return [names[label] if 0 <= label < len(names) else None for label in labels]

    def _judged(self) -> dict[str, Any]:
        if self.judge is None:
            return {}
        device = self.loaded.generator.device
        logits = torch.cat([self.judge.logits(x.to(device)).cpu() for x in self.sampled.images.split(100)])
        return {"judged": self._names(logits.argmax(1).tolist()), "judge": getattr(self.judge, "name", "classifier")}

    def draw(self) -> None:
        """Run the sampler."""
        with progress_bar("sampling", self.count) as progress:
            self.sampled = sample_images(
                self.loaded,
                self.arguments["mode"],
                self.labels,
                self.options,
                self.arguments["seed"],
                batch=self.batch,
                known=self.known,
                keep=self.preserved,
                keep_states=self.arguments["film"],
                progress=progress,
                texts=self.texts,
            )

    def write(self, folder: Path) -> dict[str, Any]:
        """All files but the record; returns what is to be recorded."""
        sampled = self.sampled
        times = comfortable(sampled.images)
        save_png(grid(enlarge(sampled.images, times)), folder / "grid.png")
        for number, image in enumerate(sampled.images):
            save_png(image, folder / f"{number:0{len(str(self.count - 1))}d}.png")
        if sampled.states is not None:
            frames = [grid(enlarge(state_images(self.tokenizer, state), times)) for state in sampled.states]
            save_animation(frames, folder / "animation.gif")
            film_of(self.tokenizer, sampled.states).write(folder)
        tensors = {"tokens": sampled.tokens, "labels": self.labels}
        if self.source is not None:
            save_png(self.source, folder / "source.png")
            save_png(
                self.tokenizer.decode(Tokens(self.known, self.tokenizer.spec.grid))[0], folder / "source-decoded.png"
            )
            tensors["keep"] = self.preserved[0].contiguous()
        save_file(tensors, folder / "samples.safetensors")
        if self.arguments["npz"]:
            write_npz(folder / "samples.npz", to_uint8(sampled.images), self.labels)
        return {
            "samples": self.count,
            "classes": self._names(self.labels.tolist()),
            **self._judged(),
            "inpaint": self.arguments["inpaint"],
            "keep_region": self.arguments["keep_region"],
            "texts": self.texts,
            "steps": sampled.steps,
            "forward_passes": sampled.forward_passes,
            "tokens_per_forward": round(tokens_per_forward(sampled.tokens.shape[1], sampled.forward_passes), 4),
            "seconds": round(sampled.seconds, 3),
            "seconds_per_sample": round(sampled.seconds / self.count, 5),
        }

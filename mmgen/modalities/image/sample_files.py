"""What `mmgen sample` does for a run that makes images."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens
from mmgen.data.held_out import names_of
from mmgen.evaluation.extractors import Judge
from mmgen.media.image_file import read_image
from mmgen.media.images import comfortable, enlarge, grid, save_animation, save_png, to_uint8
from mmgen.modalities.image.evaluation.extractors import get_image_extractor
from mmgen.modalities.image.evaluation.npz import write_npz
from mmgen.modalities.image.sampling import ImageSamples, region, sample_images, state_images
from mmgen.sampling.command import SamplingCommand, read_texts
from mmgen.store.store import Loaded


class ImageSampling(SamplingCommand):
    """Images: grid.png, a PNG each, and what the options ask for besides."""

    modality = "image"
    batch = 64
    samples: ImageSamples

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        super().__init__(loaded, arguments)
        count, texts = 64 if arguments["num"] is None else arguments["num"], read_texts(arguments["text"] or [])
        self.texts = [texts[number % len(texts)] for number in range(count)] if texts else None
        self.source: Tensor | None = None
        known = self._inpainting(arguments["inpaint"], arguments["keep_region"])
        self.task = self.make_task(count, self.texts, **known)
        self.judge = self._judge() if arguments["judge"] else None

    def _judge(self) -> Judge:
        """The classifier of the run's data."""
        generator = self.loaded.generator
        judge = get_image_extractor(None, self.tokenizer.sample_shape, device=str(generator.device))
        if not isinstance(judge, Judge) or judge.classes != len(generator.names("class")):
            raise UserError(f"--judge needs a classifier of the classes of {self.loaded.path}, and there is none")
        return judge

    def _inpainting(self, source: str | None, part: str | None) -> dict[str, Tensor]:
        """Tokens of the inpainting source, and which of them are preserved."""
        if source is None and part is None:
            return {}
        if source is None or part is None:
            lacking = "keep_region needs --inpaint" if source is None else "inpaint needs --keep_region"
            raise UserError(f"--{lacking}: the source, and the region of it that is preserved")
        self.source = image = read_image(source, self.tokenizer.sample_shape, self.arguments["resize"])
        known = self.tokenizer.encode(image[None].to(self.loaded.generator.device)).values
        return {"known": known, "keep": region(part, self.tokenizer.spec)[None]}

    def _judged(self) -> dict[str, Any]:
        if self.judge is None:
            return {}
        device = self.loaded.generator.device
        logits = torch.cat([self.judge.logits(x.to(device)).cpu() for x in self.samples.images.split(100)])
        judged = names_of(logits.argmax(1), self.loaded.facts.class_names)
        return {"judged": judged, "judge": getattr(self.judge, "name", "classifier")}

    def sample(self) -> ImageSamples:
        return sample_images(self.task, keep_states=self.arguments["film"])

    def write(self, folder: Path) -> dict[str, Any]:
        images, states, times = self.samples.images, self.samples.states, comfortable(self.samples.images)
        save_png(grid(enlarge(images, times)), folder / "grid.png")
        for number, image in enumerate(images):
            save_png(image, self.file(folder, number, ".png"))
        if states is not None:
            from mmgen.modalities.image.page.film import film_of  # templates of pages take a while

            frames = [grid(enlarge(state_images(self.tokenizer, state), times)) for state in states]
            save_animation(frames, folder / "animation.gif")
            film_of(self.tokenizer, states).write(folder)
        tensors = {"tokens": self.samples.tokens, "labels": self.labels}
        if self.source is not None:
            assert self.task.known is not None and self.task.keep is not None
            decoded = self.tokenizer.decode(Tokens(self.task.known, self.tokenizer.spec.grid))[0]
            save_png(self.source, folder / "source.png")
            save_png(decoded, folder / "source-decoded.png")
            tensors["keep"] = self.task.keep[0].contiguous()
        save_file(tensors, folder / "samples.safetensors")
        if self.arguments["npz"]:
            write_npz(folder / "samples.npz", to_uint8(images), self.labels)
        return {
            "samples": self.task.count,
            "classes": self.class_names(),
            **self._judged(),
            "inpaint": self.arguments["inpaint"],
            "keep_region": self.arguments["keep_region"],
            "texts": self.texts,
            **self.samples.record(),
        }


COMMAND = ImageSampling

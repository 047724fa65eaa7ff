"""Pictures of how far a run has come: samples of every mode, or reconstructions."""

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mmgen.conditioning import NO_CLASS
from mmgen.draws import Draws
from mmgen.imaging import comfortable, enlarge, grid, save_png
from mmgen.paradigms import Guidance, Request, SampleOptions
from mmgen.tokens import Tokens


class SampleGrids(Callback):
    """After each validation, writes a grid of images to the run's `samples/` and to TensorBoard.

    A generator shows samples of every mode, a class each in turn, always of the same draws; a tokenizer shows validation
    images above their reconstructions. Every process computes the same grid, so that none waits for another; one writes it.

    Args:
        count: images a grid; 0 for none.
        guidance: scale of classifier-free guidance.
        steps: steps a row or block; each paradigm's own number by default.
    """

    def __init__(self, count: int = 20, guidance: float = 2.0, steps: int | None = None) -> None:
        self.count, self.steps, self.guidance = count, steps, guidance
        self.folder: Path | None = None

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self.folder = run / "samples"

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Here the averaged weights are still in place."""
        if trainer.sanity_checking or not self.count or self.folder is None:
            return
        for name, picture in self._pictures(trainer, pl_module):
            if trainer.is_global_zero:
                self.folder.mkdir(exist_ok=True)
                save_png(picture, self.folder / f"{name}-{trainer.global_step:07d}.png")
                for logger in trainer.loggers:
                    if hasattr(logger.experiment, "add_image"):
                        logger.experiment.add_image(f"samples/{name}", picture / 2 + 0.5, trainer.global_step)

    def _pictures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[tuple[str, Tensor]]:
        if hasattr(pl_module, "tokenizer"):
            yield "reconstruction", self._reconstruction(trainer, pl_module)
        elif trainer.datamodule.tokenizer is not None and trainer.datamodule.tokenizer.spec.modality == "image":
            tokenizer = trainer.datamodule.tokenizer.to(pl_module.device)
            for mode, tokens in self._samples(pl_module):
                yield mode, _picture(tokenizer.decode(Tokens(tokens, tokenizer.spec.grid)))

    def _samples(self, pl_module: L.LightningModule) -> Iterator[tuple[str, Tensor]]:
        generator = pl_module.generator
        number = torch.arange(self.count, device=pl_module.device)
        labels = number % generator.classes if generator.classes else torch.full_like(number, NO_CLASS)
        options = SampleOptions(self.steps, Guidance(self.guidance if generator.classes else 1.0))
        for mode, paradigm in pl_module.paradigm.modes().items():
            *_, last = paradigm.sample(generator, Request(labels, Draws(0, number)), options)
            yield mode, last.tokens

    def _reconstruction(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Tensor:
        held_out = trainer.datamodule.samples("val")
        spread = torch.linspace(0, len(held_out) - 1, min(self.count, len(held_out))).long()  # data may be ordered by class
        x = held_out.take(spread)["x"].to(pl_module.device)
        made = pl_module.tokenizer.decode(pl_module.tokenizer.encode(x))
        columns = min(10, len(x))
        pad = torch.zeros_like(x[: -len(x) % columns])
        rows = [rearrange(torch.cat([each, pad]), "(r c) ... -> r c ...", c=columns) for each in (x, made)]
        return _picture(rearrange(torch.stack(rows, 1), "r two c ... -> (r two c) ..."), columns)


def _picture(images: Tensor, columns: int = 10) -> Tensor:
    return grid(enlarge(images.float().cpu(), comfortable(images, 56)), columns)

"""Pictures of how far a run has come: samples of every mode, or reconstructions."""

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mmgen.conditioning import NO_CLASS
from mmgen.data import DataModule
from mmgen.draws import Draws
from mmgen.imaging import comfortable, enlarge, grid, save_png
from mmgen.lit.generator_module import GeneratorModule
from mmgen.lit.tokenizer_module import TokenizerModule
from mmgen.paradigms import Guidance, Request, SampleOptions
from mmgen.tokens import Tokens


class SampleGrids(Callback):
    """After each validation, writes a grid of images to the run's `samples/` and to TensorBoard.

    A generator shows samples of every mode, a class each in turn, always of the same draws; a tokenizer shows held-out
    images above their reconstructions. Every process computes the same grid, so that none waits for another.

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
        data: DataModule = trainer.datamodule
        if isinstance(pl_module, TokenizerModule):
            yield "reconstruction", self._reconstruction(data, pl_module)
        elif isinstance(pl_module, GeneratorModule) and data.tokenizer is not None:
            tokenizer = data.tokenizer.to(pl_module.device)
            for mode, tokens in self._samples(pl_module):
                yield mode, _picture(tokenizer.decode(Tokens(tokens, tokenizer.spec.grid)))

    def _samples(self, module: GeneratorModule) -> Iterator[tuple[str, Tensor]]:
        classes = module.generator.classes
        number = torch.arange(self.count, device=module.device)
        labels = number % classes if classes else torch.full_like(number, NO_CLASS)
        options = SampleOptions(self.steps, Guidance(self.guidance if classes else 1.0))
        for mode, paradigm in module.paradigm.modes().items():
            *_, last = paradigm.sample(module.generator, Request(labels, Draws(0, number)), options)
            yield mode, last.tokens

    def _reconstruction(self, data: DataModule, module: TokenizerModule) -> Tensor:
        held_out = data.samples("val")
        count = min(self.count, len(held_out))
        spread = torch.linspace(0, len(held_out) - 1, count).long()  # data may be ordered by class
        x = held_out.take(spread)["x"].to(module.device)
        made = module.tokenizer.decode(module.tokenizer.encode(x))
        columns = min(10, count)
        pad = torch.zeros_like(x[: -count % columns])
        rows = [rearrange(torch.cat([each, pad]), "(r c) ... -> r c ...", c=columns) for each in (x, made)]
        return _picture(rearrange(torch.stack(rows, 1), "r two c ... -> (r two c) ..."), columns)


def _picture(images: Tensor, columns: int = 10) -> Tensor:
    return grid(enlarge(images.float().cpu(), comfortable(images, 56)), columns)

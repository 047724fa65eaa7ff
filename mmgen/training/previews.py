"""Previews of how far a run has come: samples of every mode, or reconstructions."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger

from mmgen.core.disk import disk_error
from mmgen.core.errors import UserError
from mmgen.core.modality import Modality, modality_of
from mmgen.data import DataModule
from mmgen.media.audio import write_wav
from mmgen.media.images import save_png
from mmgen.media.video import write_gif
from mmgen.paradigms import Guidance, SampleOptions
from mmgen.paradigms.guidance import require_droppable
from mmgen.sampling.preview import Preview
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import begin_held_out, held_out_batch
from mmgen.training.joint_module import JointModule
from mmgen.training.tokenizer_module import TokenizerModule

_METHODS = {".png": "log_image", ".gif": "log_video", ".wav": "log_audio"}
_reported: set[str] = set()

log = logging.getLogger("mmgen.training.previews")


class SampleGrids(Callback):
    """After each validation, writes previews to the run's `samples/` and to the loggers: samples of every mode of a
    generator, or of each member's, always of the same draws; held-out samples and reconstructions of a tokenizer. Every
    process computes the same, so that none waits for another. The options are those of `mmgen sample`, with the same
    defaults, and are tried before the first step.

    Args:
        count: samples a preview; 0 for no previews at all; by default as many as suit the modality.
        guidance: scale of classifier-free guidance; 1 is none.
        steps: steps a row or block; each paradigm's own number by default.

    Raises:
        UserError: options out of range, or that do not fit the generator.
    """

    def __init__(self, count: int | None = None, guidance: float = 1.0, steps: int | None = None) -> None:
        if count is not None and count < 0:
            raise UserError(f"samples.count must be at least 0, got {count}")
        try:
            self.options = SampleOptions(steps, Guidance(guidance))
        except UserError as error:
            raise UserError(f"samples.{error}") from None
        self.count = count
        self.folder: Path | None = None

    @property
    def draws_samples(self) -> bool:
        """Whether it needs the whole model on a device."""
        return self.count != 0

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self.folder = run / "samples"

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Tries the options on one held-out sample."""
        if not self.draws_samples or self.folder is None or not trainer.enable_validation:
            return
        for prefix, data, module in self._members(trainer, pl_module):
            if isinstance(module, GeneratorModule) and data.tokenizer is not None:
                try:
                    if self.options.guidance.scale != 1:
                        require_droppable(module.generator, self.options.guidance)
                    begin_held_out(module, held_out_batch(module, data, 1), self.options)
                except UserError as error:
                    what = f"samples.guidance {self.options.guidance.scale:g}, samples.steps {self.options.steps}"
                    raise UserError(f"{prefix}previews cannot be drawn with {what}: {error}") from None

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Here the averaged weights are still in place.
        if trainer.sanity_checking or not self.draws_samples or self.folder is None:
            return
        for preview in self._all(trainer, pl_module):
            if trainer.is_global_zero:
                file = self.folder / f"{preview.caption}-{trainer.global_step:07d}.png"
                try:
                    self.folder.mkdir(exist_ok=True)
                    _write(preview, file)
                except (OSError, UserError) as error:
                    if (reason := disk_error(error)) is None:
                        raise
                    log.warning("%s is not written (%s); the training goes on", file, reason)
                    continue
                for logger in trainer.loggers:
                    _log(logger.experiment, preview, trainer.global_step)
                    files = sorted(self.folder.glob(f"{file.stem}*"))
                    log_files(logger, preview.caption, files, trainer.global_step)

    def _all(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[Preview]:
        for prefix, data, module in self._members(trainer, pl_module):
            for preview in self._previews(data, module):
                yield replace(preview, caption=f"{prefix}{preview.caption}")

    def _members(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> Iterator[tuple[str, DataModule, L.LightningModule]]:
        """Prefix of its captions, data, and module of each member of a joint run; of another run, itself."""
        if not isinstance(pl_module, JointModule):
            yield "", trainer.datamodule, pl_module
            return
        for name, member in pl_module.parts():
            yield f"{name}-", trainer.datamodule.members[name], member

    def _previews(self, data: DataModule, module: L.LightningModule) -> Iterator[Preview]:
        if isinstance(module, TokenizerModule):
            modality = modality_of(module.tokenizer.spec.modality)
            yield modality.reconstruction_preview(module, data, self._count(modality))
        elif isinstance(module, GeneratorModule) and data.tokenizer is not None:
            tokenizer = data.tokenizer.to(module.device)
            modality = modality_of(tokenizer.spec.modality)
            yield from modality.sample_previews(module, data, tokenizer, self._count(modality), self.options)

    def _count(self, modality: Modality) -> int:
        return modality.preview_count if self.count is None else self.count


def _write(preview: Preview, file: Path) -> None:
    """Its picture, and beside it what moves and what sounds."""
    for picture in preview.pictures:
        save_png(picture, file)
    if preview.clip is not None:
        write_gif(preview.clip, file.with_suffix(".gif"), preview.fps)
    for number, sound in enumerate(preview.sounds):
        write_wav(sound[None], file.with_name(f"{file.stem}-{number}.wav"), preview.sample_rate)


def _log(writer: Any, preview: Preview, step: int) -> None:
    """To TensorBoard, or to whatever else takes what it takes."""
    if hasattr(writer, "add_image"):
        for picture in preview.pictures:
            writer.add_image(f"samples/{preview.caption}", picture / 2 + 0.5, step)
    if hasattr(writer, "add_audio"):
        for number, sound in enumerate(preview.sounds):
            writer.add_audio(f"samples/{preview.caption}/{number}", sound, step, preview.sample_rate)


def log_files(logger: Logger, name: str, files: Sequence[Path], step: int) -> None:
    """Hand PNG, GIF and WAV files to a logger other than TensorBoard and CSV.

    Weights & Biases has `log_image`, `log_video` and `log_audio` in Lightning's logger, Comet in its experiment; MLflow
    takes files as artifacts of the run. A logger that has none of these is named once.

    Args:
        logger: of the trainer.
        name: what the files show, such as a mode.
        files: in the run's `samples/`.
        step: optimizer steps taken.
    """
    experiment: Any = logger.experiment
    if hasattr(experiment, "add_image") or isinstance(logger, CSVLogger):
        return
    for file in files:
        call = _call(logger, experiment, name, file, step)
        if call is not None:
            call()
        elif (kind := type(logger).__name__) not in _reported:
            _reported.add(kind)
            log.warning("%s takes no pictures or sounds: samples of this run are in %s only", kind, file.parent)


def _call(logger: Any, experiment: Any, name: str, file: Path, step: int) -> Callable[[], Any] | None:
    method, key = _METHODS[file.suffix], f"samples/{name}"
    if hasattr(logger, method):
        return lambda: getattr(logger, method)(key, [str(file)], step=step)
    if hasattr(experiment, "log_artifact") and hasattr(logger, "run_id"):
        return lambda: experiment.log_artifact(logger.run_id, str(file), key)
    if hasattr(experiment, method):
        return lambda: getattr(experiment, method)(str(file), step=step)
    return None

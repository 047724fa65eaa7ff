"""Pictures, and sounds, of how far a run has come: samples of every mode, or reconstructions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.tokens import Tokens
from mmgen.data import DataModule
from mmgen.media.audio import write_wav
from mmgen.media.images import comfortable, enlarge, grid, save_png
from mmgen.media.video import contact_sheet, tile_clips, write_gif
from mmgen.modalities.motion.previews import Moved, motion_reconstruction, motion_samples
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.modalities.speech.previews import Heard, sound_reconstruction, sound_samples
from mmgen.modalities.video.previews import clip_reconstruction, clip_samples
from mmgen.model.conditioning import NO_CLASS
from mmgen.paradigms import Guidance, Request, SampleOptions
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.joint_module import JointModule
from mmgen.training.tokenizer_module import TokenizerModule


@dataclass(frozen=True, eq=False)
class Shown:
    """What is written under one name.

    Args:
        name: mode, or `reconstruction`.
        picture: (C, H, W) in [-1, 1].
        clip: (C, T, H, W), the same in motion; None for what does not move.
        sounds: each (1, T), what was made, to be heard; none for what makes no sound.
        sample_rate: of these, in Hz.
        fps: frames a second of the clip.
    """

    name: str
    picture: Tensor
    clip: Tensor | None = None
    sounds: Sequence[Tensor] = ()
    sample_rate: int = 0
    fps: float = 8.0


class SampleGrids(Callback):
    """After each validation, writes pictures to the run's `samples/` and to TensorBoard.

    A generator shows samples of every mode, a class each in turn, always of the same draws; a tokenizer shows held-out
    images above their reconstructions. Clips are a row of frames each, with a GIF beside: held-out clips, below each
    what a mode makes of its first third, or the tokenizer of all of it. Sounds are spectrograms, with a WAV of each
    beside: held-out ones, below each what a mode makes of its text, or the tokenizer of it. Motions are a row of poses
    each, with a GIF of all beside, likewise. Of a joint run each member shows its own, under its name. Every process
    computes the same, so that none waits for another.

    Args:
        count: images a grid; 0 for no pictures at all.
        clips: clips, sounds or motions a sheet, where the run is of these.
        guidance: scale of classifier-free guidance.
        steps: steps a row or block; each paradigm's own number by default.
    """

    def __init__(self, count: int = 20, clips: int = 4, guidance: float = 2.0, steps: int | None = None) -> None:
        self.count, self.clips, self.steps, self.guidance = count, clips, steps, guidance
        self.folder: Path | None = None

    def put_into(self, run: Path) -> None:
        """Choose the run folder."""
        self.folder = run / "samples"

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Here the averaged weights are still in place."""
        if trainer.sanity_checking or not self.count or self.folder is None:
            return
        for shown in self._all(trainer, pl_module):
            if trainer.is_global_zero:
                self.folder.mkdir(exist_ok=True)
                file = self.folder / f"{shown.name}-{trainer.global_step:07d}.png"
                save_png(shown.picture, file)
                if shown.clip is not None:
                    write_gif(shown.clip, file.with_suffix(".gif"), shown.fps)
                for number, sound in enumerate(shown.sounds):
                    write_wav(sound, file.with_name(f"{file.stem}-{number}.wav"), shown.sample_rate)
                for logger in trainer.loggers:
                    _log(logger.experiment, shown, trainer.global_step)

    def _all(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[Shown]:
        if not isinstance(pl_module, JointModule):
            yield from self._pictures(trainer.datamodule, pl_module)
            return
        for name, member in pl_module.parts():
            for shown in self._pictures(trainer.datamodule.members[name], member):
                yield replace(shown, name=f"{name}-{shown.name}")

    def _pictures(self, data: DataModule, pl_module: L.LightningModule) -> Iterator[Shown]:
        clips, sounds = len(data.sample_shape) == 4, data.sample_rate is not None
        if isinstance(pl_module, TokenizerModule) and sounds:
            yield _sounds(sound_reconstruction(pl_module, data, self.clips))
        elif isinstance(pl_module, TokenizerModule) and isinstance(pl_module.tokenizer, MotionTokenizer):
            yield _moving(motion_reconstruction(pl_module, data, self.clips))
        elif isinstance(pl_module, TokenizerModule) and clips:
            yield _clips("reconstruction", *clip_reconstruction(pl_module, data, self.clips), data.fps)
        elif isinstance(pl_module, TokenizerModule):
            yield Shown("reconstruction", self._reconstruction(data, pl_module))
        elif isinstance(pl_module, GeneratorModule) and data.tokenizer is not None:
            tokenizer = data.tokenizer.to(pl_module.device)
            options = SampleOptions(self.steps, Guidance(self.guidance if pl_module.generator.classes else 1.0))
            if sounds:
                yield from map(_sounds, sound_samples(pl_module, data, tokenizer, self.clips, options))
                return
            if isinstance(tokenizer, MotionTokenizer):
                yield from map(_moving, motion_samples(pl_module, data, tokenizer, self.clips, options))
                return
            if clips:
                for mode, truth, made in clip_samples(pl_module, data, tokenizer, self.clips, options):
                    yield _clips(mode, truth, made, data.fps)
                return
            for mode, tokens in self._samples(pl_module, options):
                yield Shown(mode, _picture(tokenizer.decode(Tokens(tokens, tokenizer.spec.grid))))

    def _samples(self, module: GeneratorModule, options: SampleOptions) -> Iterator[tuple[str, Tensor]]:
        classes = module.generator.classes
        number = torch.arange(self.count, device=module.device)
        labels = number % classes if classes else torch.full_like(number, NO_CLASS)
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


def _log(writer: Any, shown: Shown, step: int) -> None:
    """To TensorBoard, or to whatever else takes what it takes."""
    if hasattr(writer, "add_image"):
        writer.add_image(f"samples/{shown.name}", shown.picture / 2 + 0.5, step)
    if hasattr(writer, "add_audio"):
        for number, sound in enumerate(shown.sounds):
            writer.add_audio(f"samples/{shown.name}/{number}", sound, step, shown.sample_rate)


def _sounds(heard: Heard) -> Shown:
    return Shown(heard.name, heard.picture(), sounds=heard.made, sample_rate=heard.sample_rate)


def _moving(moved: Moved) -> Shown:
    return Shown(moved.name, moved.picture(), moved.clip(), fps=moved.fps)


def _picture(images: Tensor, columns: int = 10) -> Tensor:
    return grid(enlarge(images.float().cpu(), comfortable(images, 56)), columns)


def _clips(name: str, truth: Tensor, made: Tensor, fps: float | None) -> Shown:
    """Clips (B, C, T, H, W), each above what was made of it; in motion they stand side by side."""
    pairs = rearrange(torch.stack([truth, made], 1).float().cpu(), "b two ... -> (b two) ...")
    pairs = enlarge(pairs, comfortable(pairs, 56))
    return Shown(name, contact_sheet(pairs), tile_clips(pairs, columns=2), fps=fps or 8.0)

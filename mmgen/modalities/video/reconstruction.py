"""What `mmgen reconstruct` writes of clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmgen.core.errors import UserError
from mmgen.data.held_out import held_out_clips, names_of
from mmgen.data.sources import Source
from mmgen.media.folders import new_folder, unique_names
from mmgen.media.images import comfortable, enlarge
from mmgen.media.video import read_clip, tile_clips, write_mp4
from mmgen.media.video_file import read_header
from mmgen.modalities.video.evaluation.frame_metrics import capped_psnr
from mmgen.tokenizers import TimedTokenizer, Tokenizer


def reconstruct_clips(
    tokenizer: Tokenizer, files: Sequence[str], out: str, fps: float | None = None, frames: int | None = None
) -> None:
    """Encode clips, decode them again, and write each beside its original (left), with the PSNR.

    Args:
        tokenizer: of video, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.
        fps: how many frames a second are taken; by default the file's own number.
        frames: how many are taken from the beginning; by default as many as the tokenizer was trained on.

    Raises:
        UserError: a file cannot be read, or does not fit; then nothing is written.
    """
    assert isinstance(tokenizer, TimedTokenizer)
    channels, trained, *size = tokenizer.sample_shape
    shape = (channels, trained if frames is None else frames, *size)
    spec = tokenizer.spec.with_frames(shape[1])
    rates = [(read_header(file).fps or 25.0) if fps is None else fps for file in files]
    clips = [read_clip(file, shape, rate) for file, rate in zip(files, rates)]
    names = unique_names(files, ".mp4")
    folder = new_folder(out)
    for file, name, clip, rate in zip(files, names, clips, rates, strict=True):
        tokens = tokenizer.encode(clip[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, shape[1])[0].float().cpu()
        pair = torch.stack([clip, decoded])
        write_mp4(tile_clips(enlarge(pair, comfortable(pair)), columns=2), folder / name, rate)
        psnr = capped_psnr(decoded[None], clip[None]).mean().item()
        print(f"{file}: psnr_db {psnr:.2f}, the mean of {shape[1]} frames, {spec.amount} -> {folder / name}")


def reconstruct_held_out_clips(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Held-out clips as NNN.real.mp4, and what the tokenizer makes of them, as NNN.mp4."""
    shape, wanted = tuple(source.sample_shape), tokenizer.sample_shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (wanted[0], *wanted[2:]):
        raise UserError(f"the tokenizer takes clips of shape {wanted}, and the data has {shape}; choose other --data")
    assert isinstance(tokenizer, TimedTokenizer)
    batch = held_out_clips(source.samples("val"), min(count, len(source.samples("val"))))
    fps, errors = source.fps or 8.0, []
    for number, clip in enumerate(batch["x"]):
        tokens = tokenizer.encode(clip[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, clip.shape[1])[0].float().cpu()
        write_mp4(clip, folder / f"{number:03d}.real.mp4", fps)
        write_mp4(decoded, folder / f"{number:03d}.mp4", fps)
        errors.append(capped_psnr(decoded[None], clip[None]).mean().item())
    names = names_of(batch["label"], source.class_names)
    figures = {"psnr_db": sum(errors) / len(errors)}
    return {"samples": len(errors), "classes": names, "fps": fps, "frames": shape[1]} | figures

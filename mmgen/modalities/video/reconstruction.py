"""What `mmgen reconstruct` writes of clips."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.held_out import held_out_clips, names_of
from mmgen.data.sources import Source
from mmgen.media.images import comfortable, enlarge
from mmgen.media.video import read_clip, tile_clips, write_mp4
from mmgen.media.video_file import read_header
from mmgen.modalities.video.evaluation.frame_metrics import capped_psnr
from mmgen.sampling.reconstruction import reconstruct_each, reconstruct_numbered
from mmgen.tokenizers import TimedTokenizer, Tokenizer


def reconstruct_files(
    tokenizer: Tokenizer, files: Sequence[str], out: str, fps: float | None = None, frames: int | None = None
) -> None:
    """Each clip beside its reconstruction (right), with the PSNR.

    Args:
        tokenizer: of video, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.
        fps: how many frames a second are taken; by default the file's own number.
        frames: how many are taken from the beginning; by default as many as the tokenizer was trained on.
    """
    channels, trained, *size = tokenizer.sample_shape
    shape, rates = (channels, trained if frames is None else frames, *size), list[float]()
    tokenizer.spec.with_frames(shape[1])  # refuses none

    def read(file: str) -> Tensor:
        rates.append((read_header(file).fps or 25.0) if fps is None else fps)
        return read_clip(file, shape, rates[-1])

    def write(clip: Tensor, decoded: Tensor, path: Path) -> tuple[str, list[Path]]:
        pair = torch.stack([clip, decoded])
        write_mp4(tile_clips(enlarge(pair, comfortable(pair)), columns=2), path, rates.pop(0))
        psnr = capped_psnr(decoded[None], clip[None]).mean().item()
        return f"psnr_db {psnr:.2f}, the mean of {shape[1]} frames", []

    reconstruct_each(tokenizer, files, out, ".mp4", read, write)


def reconstruct_held_out(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Held-out clips from all over the split."""
    shape, expected = tuple(source.sample_shape), tokenizer.sample_shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (expected[0], *expected[2:]):
        raise UserError(f"the tokenizer takes clips of shape {expected}, and the data has {shape}; choose other --data")
    assert isinstance(tokenizer, TimedTokenizer)
    batch, fps = held_out_clips(source.samples("val"), min(count, len(source.samples("val")))), source.fps or 8.0
    made = reconstruct_numbered(tokenizer, list(batch["x"]), folder, ".mp4", partial(write_mp4, fps=fps))
    psnr = capped_psnr(torch.stack(made), batch["x"]).mean().item()
    names = names_of(batch["label"], source.class_names)
    return {"samples": len(made), "classes": names, "fps": fps, "frames": shape[1], "psnr_db": psnr}

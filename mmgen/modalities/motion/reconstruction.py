"""What `mmgen reconstruct` writes of motions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.data.held_out import classes_in_turn, names_of
from mmgen.data.sources import Source
from mmgen.media.video import write_gif
from mmgen.modalities.motion.drawing import draw_motion
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.features import features_to_joints, position_errors
from mmgen.modalities.motion.files import open_motion, write_npy
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.sampling.reconstruction import reconstruct_each, reconstruct_numbered
from mmgen.tokenizers import Tokenizer


def reconstruct_files(tokenizer: Tokenizer, files: Sequence[str], out: str) -> None:
    """The joints of the reconstruction as .npy, and as GIF the original (left) beside them."""
    assert isinstance(tokenizer, MotionTokenizer)

    def read(file: str) -> Tensor:
        return open_motion(file, tokenizer.skeleton, tokenizer.fps)

    def write(motion: Tensor, decoded: Tensor, path: Path) -> tuple[str, list[Path]]:
        pair, film = features_to_joints(torch.stack([motion, decoded]).mT), path.with_suffix(".gif")
        write_npy(pair[1], path)
        write_gif(draw_motion(pair), film, tokenizer.fps)
        errors = position_errors(decoded[None], motion[None])
        figures = ", ".join(f"{metric} {error.item():.1f}" for metric, error in errors.items())
        return f"{figures}, {motion.shape[1] / tokenizer.fps:.2f} s", [film]

    reconstruct_each(tokenizer, files, out, ".npy", read, write)


def reconstruct_held_out(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Joints of held-out motions, their actions in turn."""
    assert isinstance(tokenizer, MotionTokenizer)

    def write(motion: Tensor, path: Path) -> None:
        write_npy(features_to_joints(motion.mT), path)

    held_out = source.samples("val")
    batch = held_out.take(classes_in_turn(held_out, count))
    motions = motions_of(batch)
    made = reconstruct_numbered(tokenizer, motions, folder, ".npy", write)
    errors = [position_errors(one[None], real[None])["mpjpe_mm"].item() for one, real in zip(made, motions)]
    names = names_of(batch["label"], source.class_names)
    return {"samples": len(errors), "classes": names, "fps": tokenizer.fps, "mpjpe_mm": sum(errors) / len(errors)}

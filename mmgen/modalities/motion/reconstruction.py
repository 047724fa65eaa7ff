"""What `mmgen reconstruct` writes of motions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmgen.data.held_out import classes_in_turn, names_of
from mmgen.data.sources import Source
from mmgen.media.folders import new_folder, unique_names
from mmgen.media.video import write_gif
from mmgen.modalities.motion.distance import position_errors
from mmgen.modalities.motion.drawing import draw_motion
from mmgen.modalities.motion.evaluation.network import motions_of
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.files import open_motion, write_npy
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.tokenizers import Tokenizer


def reconstruct_motions(tokenizer: Tokenizer, files: Sequence[str], out: str) -> None:
    """Encode motions, decode them again, and write the joints as .npy, and as GIF the original (left) beside them.

    Args:
        tokenizer: of motion, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.

    Raises:
        UserError: a file cannot be read, or does not fit; then nothing is written.
    """
    assert isinstance(tokenizer, MotionTokenizer)
    motions = [
        open_motion(file, tokenizer.skeleton, tokenizer.fps) for file in files
    ]  # all are read before one is written
    names = unique_names(files, ".npy")
    folder = new_folder(out)
    for file, name, motion in zip(files, names, motions, strict=True):
        frames = motion.shape[1]
        tokens = tokenizer.encode(motion[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, frames)[0].float().cpu()
        pair, moving = features_to_joints(torch.stack([motion, decoded]).mT), folder / f"{Path(name).stem}.gif"
        write_npy(pair[1], folder / name)
        write_gif(draw_motion(pair), moving, tokenizer.fps)
        errors = position_errors(decoded[None], motion[None])
        told = ", ".join(f"{metric} {error.item():.1f}" for metric, error in errors.items())
        amount = tokenizer.spec.with_frames(frames).amount
        print(f"{file}: {told}, {frames / tokenizer.fps:.2f} s, {amount} -> {folder / name}, {moving}")


def reconstruct_held_out_motions(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Joints of held-out motions, their actions in turn, as NNN.real.npy, and what the tokenizer makes of them, as
    NNN.npy.
    """
    assert isinstance(tokenizer, MotionTokenizer)
    held_out = source.samples("val")
    batch = held_out.take(classes_in_turn(held_out, count))
    errors = []
    for number, motion in enumerate(motions_of(batch)):
        tokens = tokenizer.encode(motion[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens, motion.shape[1])[0].float().cpu()
        write_npy(features_to_joints(motion.mT), folder / f"{number:03d}.real.npy")
        write_npy(features_to_joints(decoded.mT), folder / f"{number:03d}.npy")
        errors.append(position_errors(decoded[None], motion[None])["mpjpe_mm"].item())
    names = names_of(batch["label"], source.class_names)
    return {"samples": len(errors), "classes": names, "fps": tokenizer.fps, "mpjpe_mm": sum(errors) / len(errors)}

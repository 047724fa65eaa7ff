"""What `mmgen reconstruct` writes of images."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmgen.data.held_out import classes_in_turn, names_of
from mmgen.data.sources import Source
from mmgen.media.folders import new_folder, unique_names
from mmgen.media.images import comfortable, enlarge, grid, psnr_db, read_image, save_png, to_uint8
from mmgen.modalities.image.evaluation.measure import check_shapes
from mmgen.tokenizers import Tokenizer


def reconstruct_images(tokenizer: Tokenizer, files: Sequence[str], out: str, resize: bool = False) -> None:
    """Encode images, decode them again, and write each beside its original (left), with the PSNR.

    Args:
        tokenizer: of image, in evaluation mode.
        files: to be read.
        out: folder for the results, made and never written over.
        resize: fit images of another size instead of refusing them.

    Raises:
        UserError: a file cannot be read, or does not fit; then nothing is written.
    """
    images = [
        read_image(file, tokenizer.sample_shape, resize) for file in files
    ]  # all are read before anything is written
    names = unique_names(files, ".png")
    folder = new_folder(out)
    for file, name, image in zip(files, names, images, strict=True):
        tokens = tokenizer.encode(image[None].to(next(tokenizer.parameters()).device))
        decoded = tokenizer.decode(tokens)[0].float().cpu()
        pair = torch.stack([image, decoded])
        save_png(grid(enlarge(pair, comfortable(pair)), columns=2), folder / name)
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        psnr = 10 * math.log10(255**2 / error) if error else math.inf
        print(f"{file}: psnr_db {psnr:.2f}, {tokenizer.spec.amount} -> {folder / name}")


def reconstruct_held_out_images(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Held-out images, their classes in turn, as NNN.real.png, and what the tokenizer makes of them, as NNN.png."""
    check_shapes(tokenizer, source.sample_shape)
    held_out = source.samples("val")
    batch = held_out.take(classes_in_turn(held_out, count))
    device = next(tokenizer.parameters()).device
    parts = [tokenizer.decode(tokenizer.encode(x.to(device))).float().cpu() for x in batch["x"].split(16)]
    decoded, digits = torch.cat(parts), len(str(len(batch["x"]) - 1))
    for number, (image, made) in enumerate(zip(batch["x"], decoded, strict=True)):
        save_png(image, folder / f"{number:0{digits}d}.real.png")
        save_png(made, folder / f"{number:0{digits}d}.png")
    names = names_of(batch["label"], source.class_names)
    return {"samples": len(decoded), "classes": names, "psnr_db": psnr_db(decoded, batch["x"]).mean().item()}

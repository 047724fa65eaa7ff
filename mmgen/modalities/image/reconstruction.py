"""What `mmgen reconstruct` writes of images."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.data.held_out import classes_in_turn, names_of
from mmgen.data.sources import Source
from mmgen.media.image_file import read_image
from mmgen.media.images import comfortable, enlarge, grid, psnr_db, save_png, to_uint8
from mmgen.modalities.image.evaluation.measure import check_shapes
from mmgen.sampling.reconstruction import reconstruct_each, reconstruct_numbered
from mmgen.tokenizers import Tokenizer


def reconstruct_files(tokenizer: Tokenizer, files: Sequence[str], out: str, resize: bool = False) -> None:
    """Each image beside its reconstruction (right), with the PSNR; `resize` fits images of another size."""

    def read(file: str) -> Tensor:
        return read_image(file, tokenizer.sample_shape, resize)

    def write(image: Tensor, decoded: Tensor, path: Path) -> tuple[str, list[Path]]:
        pair = torch.stack([image, decoded])
        save_png(grid(enlarge(pair, comfortable(pair)), columns=2), path)
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        return f"psnr_db {10 * math.log10(255**2 / error) if error else math.inf:.2f}", []

    reconstruct_each(tokenizer, files, out, ".png", read, write)


def reconstruct_held_out(tokenizer: Tokenizer, source: Source, count: int, folder: Path) -> dict[str, Any]:
    """Held-out images, their classes in turn."""
    check_shapes(tokenizer, source.sample_shape)
    held_out = source.samples("val")
    batch = held_out.take(classes_in_turn(held_out, count))
    images, digits = list(batch["x"]), len(str(len(batch["x"]) - 1))
    made = torch.stack(reconstruct_numbered(tokenizer, images, folder, ".png", save_png, digits))
    names = names_of(batch["label"], source.class_names)
    return {"samples": len(made), "classes": names, "psnr_db": psnr_db(made, batch["x"]).mean().item()}

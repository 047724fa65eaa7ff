"""`mmgen reconstruct`: what a tokenizer keeps of an image."""

import math
from itertools import chain, count
from pathlib import Path


def run(
    tokenizer: str, files: list[str], out: str = "reconstructions", resize: bool = False, device: str = "auto"
) -> None:
    """Encode images, decode them again, and write each beside its original (left: original), with the PSNR of the pair.

    Args:
        tokenizer: run folder or export of a tokenizer.
        files: images of the size that the tokenizer was trained for.
        out: folder for the results, made and never written over.
        resize: fit images of another size instead of refusing them.
        device: cpu, cuda, or auto.
    """
    import torch

    from mmgen.folders import new_folder
    from mmgen.imaging import comfortable, enlarge, grid, read_image, save_png, to_uint8
    from mmgen.sampling import pick_device
    from mmgen.store import load_tokenizer

    loaded = load_tokenizer(tokenizer).to(pick_device(device))
    images = [
        read_image(file, loaded.sample_shape, resize) for file in files
    ]  # all are read before anything is written
    names = unique_names(files)
    folder = new_folder(out)
    for file, name, image in zip(files, names, images, strict=True):
        tokens = loaded.encode(image[None].to(next(loaded.parameters()).device))
        decoded = loaded.decode(tokens)[0].float().cpu()
        pair = torch.stack([image, decoded])
        save_png(grid(enlarge(pair, comfortable(pair)), columns=2), folder / name)
        error = (to_uint8(image).double() - to_uint8(decoded).double()).square().mean().item()
        psnr = 10 * math.log10(255**2 / error) if error else math.inf
        print(f"{file}: psnr_db {psnr:.2f}, {loaded.spec.amount} -> {folder / name}")


def unique_names(files: list[str]) -> list[str]:
    """A PNG name for each file: its own stem, with a number where two share it."""
    names: list[str] = []
    for stem in (Path(file).stem for file in files):
        numbered = (f"{stem}-{number}.png" for number in count(2))
        names.append(next(name for name in chain([f"{stem}.png"], numbered) if name not in names))
    return names

"""`mmgen masks`: the attention masks as pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmgen.core.terminal import print_safely

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = "masks.png"


def run(name: str | None = None, out: str | None = None, folder: str | None = None) -> None:
    """Draw one mask of the catalogue, or all of them on one sheet.

    Args:
        name: a mask, such as skip_causal or sliding_window(8); all of them by default.
        out: file of the picture, masks.png by default.
        folder: folder for a picture of each mask; no sheet is drawn then, unless --out names one.
    """
    from mmgen.core.masks import CATALOGUE, example, get_mask
    from mmgen.media.mask_picture import catalogue_sheet, mask_image

    names = list(CATALOGUE) if name is None else [name]
    masks = {each: get_mask(each) for each in names}  # an unknown name is told before anything is written
    if folder is not None:
        for each, mask in masks.items():
            _save(mask_image(mask, *example(each)), Path(folder) / f"{each}.png")
        print_safely(f"{len(masks)} pictures -> {folder}")
    if folder is None or out is not None:
        target = Path(out or SHEET)
        _save(catalogue_sheet() if name is None else mask_image(masks[name], *example(name)), target)
        print_safely(f"{'all masks' if name is None else masks[name].sentence} -> {target}")


def _save(image: "Image", path: Path) -> None:
    """Write a picture in the format of its suffix."""
    from PIL.Image import registered_extensions

    from mmgen.core.errors import UserError
    from mmgen.media.folders import whole_file

    if path.suffix.lower() not in registered_extensions():
        raise UserError(f"{path} has no suffix of a picture; write to a .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            image.save(file, format=registered_extensions()[path.suffix.lower()])
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}; choose another --out or --folder"
        ) from None

"""`mmgen compress`: images as few bytes."""

import math

from mmgen.core.terminal import print_safely
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_checkpoint
def run(
    path: str,
    files: list[str],
    *,
    out: str,
    mode: str | None = None,
    class_: str = "none",
    resize: bool = False,
    batch: int = 64,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
) -> None:
    """Write images as one small file: the tokens of all, coded under a generator's autoregressive mode.

    The tokens come back bit for bit (`mmgen decompress`), with the same generator; the images as the tokenizer decodes
    them. The file says whose tokens it holds, and keeps the order of the images, not their names.

    Args:
        path: run folder or export of a generator.
        files: images of the size that the generator was trained for.
        out: the file, made and never written over.
        mode: an autoregressive mode of the generator; needed where it has several.
        class_: class names or numbers, separated by commas: one for all images or one for each; `none` for no class.
        resize: fit images of another size instead of refusing them.
        batch: images coded side by side; changes their bytes little, and the time.
        device: cpu, cuda, or auto.
    """
    import torch

    from mmgen.core.errors import UserError
    from mmgen.core.modality import modality_of
    from mmgen.core.progress import progress_bar
    from mmgen.media.folders import require_new_file, write_whole
    from mmgen.media.image_file import read_image
    from mmgen.sampling.samples import class_labels, pick_device, require_tokenizer
    from mmgen.store.store import load_generator
    from mmgen.tools.compression import autoregressive_mode, compress

    require_new_file(out, "--out")
    loaded = load_generator(path, checkpoint).to(pick_device(device))
    tokenizer = require_tokenizer(loaded)
    if loaded.spec.unit is not None:
        raise UserError(f"{path} generates {modality_of(loaded.spec.modality).plural}: choose a run of images")
    autoregressive_mode(loaded, mode)  # its error comes before the work
    classes = [name.strip() for name in class_.split(",")]
    if len(classes) not in (1, len(files)):
        raise UserError(f"--class names {len(classes)} classes for {len(files)} images; name one, or one for each")
    labels = class_labels(classes, len(files), loaded)
    images = (read_image(file, tokenizer.sample_shape, resize)[None] for file in files)
    with torch.no_grad():
        tokens = torch.cat([tokenizer.encode(image.to(loaded.generator.device)).values for image in images])
    with progress_bar("compressing", len(files)) as progress:
        made = compress(loaded, tokens, labels, mode, batch, progress)
    try:
        write_whole(out, made.data)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}; choose another") from None
    code, pixels = 8 * made.code_bytes, 8 * math.prod(tokenizer.sample_shape) * made.images
    rows = {
        "images": f"{made.images}",
        "bytes": f"{len(made.data)}, {len(made.data) - made.code_bytes} of them header and checksum",
        "code": f"{code / made.images:.2f} bits an image",
        "cross-entropy": f"{made.model_bits / made.images:.2f} bits an image, under the model",
        "tokens": f"{made.raw_bits / made.images:.2f} bits an image, {_times(made.raw_bits, code)} the code",
        "pixels": f"{pixels / made.images:g} bits an image, {_times(pixels, 8 * len(made.data))} the file",
        "written to": out,
    }
    for name, text in rows.items():
        print_safely(f"{name + ':':16}{text}")


def _times(large: float, small: float) -> str:
    return f"{large / small:.2f} times" if small else "more than"

"""`mmgen decompress`: what `mmgen compress` wrote, as images again."""

from mmgen.core.terminal import print_safely
from mmgen.store.checkpoint_name import CheckpointName, takes_checkpoint


@takes_checkpoint
def run(
    path: str,
    file: str,
    *,
    out: str,
    tokens: str | None = None,
    checkpoint: CheckpointName = "last",
    device: str = "auto",
) -> None:
    """Write the images of a compressed file as PNG, numbered in the order in which they were compressed.

    Args:
        path: run folder or export of the generator that compressed them.
        file: what `mmgen compress` wrote.
        out: folder for the images, made and never written over.
        tokens: safetensors file for the tokens, bit for bit those that were compressed, and the classes; made and never
            written over.
        device: cpu, cuda, or auto.
    """
    import torch
    from safetensors.torch import save

    from mmgen.core.progress import progress_bar
    from mmgen.core.tokens import Tokens
    from mmgen.media.folders import require_new_file, whole_folder, write_whole
    from mmgen.media.images import save_png
    from mmgen.sampling.samples import pick_device, require_tokenizer
    from mmgen.store.store import load_generator
    from mmgen.tools.compression import decompress, read_container

    if tokens is not None:
        require_new_file(tokens, "--tokens")
    container = read_container(file)
    loaded = load_generator(path, checkpoint).to(pick_device(device))
    tokenizer = require_tokenizer(loaded)
    with whole_folder(out) as folder:
        with progress_bar("decompressing", container.images) as progress:
            values, labels = decompress(loaded, container, file, progress)
        for number, row in enumerate(values):
            with torch.no_grad():
                image = tokenizer.decode(Tokens(row[None].to(loaded.generator.device), loaded.spec.grid))[0]
            save_png(image.float().cpu(), folder / f"{number:0{len(str(len(values) - 1))}d}.png")
        if tokens is not None:
            write_whole(tokens, save({"tokens": values, "labels": labels}))
    if tokens is not None:
        print_safely(f"{len(values)} images of {values.shape[1]} tokens -> {tokens}")
    print_safely(f"{len(values)} images -> {out}")

"""What `mmgen reconstruct` does for every modality: encode, decode again, and write both."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from mmgen.core.terminal import print_safely
from mmgen.media.folders import unique_names, whole_folder
from mmgen.tokenizers import TimedTokenizer, Tokenizer


def reconstruct(tokenizer: Tokenizer, sample: Tensor) -> Tensor:
    """A sample encoded and decoded again, of its own shape, float32 on the CPU."""
    tokens = tokenizer.encode(sample[None].to(next(tokenizer.parameters()).device))
    if tokenizer.spec.unit is not None and isinstance(tokenizer, TimedTokenizer):
        return tokenizer.decode(tokens, sample.shape[1])[0].float().cpu()
    return tokenizer.decode(tokens)[0].float().cpu()


def reconstruct_each(
    tokenizer: Tokenizer,
    files: Sequence[str],
    out: str,
    suffix: str,
    read: Callable[[str], Tensor],
    write: Callable[[Tensor, Tensor, Path], tuple[str, Sequence[Path]]],
) -> None:
    """Reconstruct files, and print a line for each when all are done. `read` makes a sample of a file, all before
    anything is written into the new folder `out`; `write` writes a sample and its reconstruction under a path of that
    suffix, and returns the figures in words and further files.
    """
    samples = [read(file) for file in files]
    lines = []
    with whole_folder(out) as folder:
        for file, name, sample in zip(files, unique_names(files, suffix), samples, strict=True):
            figures, further = write(sample, reconstruct(tokenizer, sample), folder / name)
            spec = tokenizer.spec if tokenizer.spec.unit is None else tokenizer.spec.with_frames(sample.shape[1])
            written = ", ".join(str(Path(out) / each.name) for each in [folder / name, *further])
            lines.append(f"{file}: {figures}, {spec.amount} -> {written}")
    print_safely(*lines, sep="\n")


def reconstruct_numbered(
    tokenizer: Tokenizer,
    samples: Sequence[Tensor],
    folder: Path,
    suffix: str,
    write: Callable[[Tensor, Path], object],
    digits: int = 3,
) -> list[Tensor]:
    """Write samples as NNN.real.* and their reconstructions, which are returned, as NNN.*."""
    made = []
    for number, sample in enumerate(samples):
        made.append(reconstruct(tokenizer, sample))
        write(sample, folder / f"{number:0{digits}d}.real{suffix}")
        write(made[-1], folder / f"{number:0{digits}d}{suffix}")
    return made

"""How a folder of this kind is made, once a release: `python -m tests.upgrade.write tests/upgrade/VERSION`.

It holds what that release writes: the runs of a tokenizer and of a generator, an export of the latter, and what they
give. Later versions have to read it; nothing in it is ever written again.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from mmgen.cli.main import main
from mmgen.data import Digits
from mmgen.paradigms import SampleOptions
from mmgen.sampling import sample_images
from mmgen.store import load_generator, load_tokenizer, save_export
from tests.lit.fits import QUICK

SMALL = ["--data.global_batch_size=4", "--trainer.max_steps=3", "--checkpoint.every_n_train_steps=3"]
"""Of both runs."""
TOKENIZER = ["--config=tokenizers/digits_bsq", "--model.tokenizer.width=8", "--model.tokenizer.quantizer.bits=4"]
GENERATOR = [
    "--config=experiments/digits_mixture", "--model.backbone.dim=8", "--model.backbone.heads=1",
    "--model.backbone.depth=1",
]  # fmt: skip
DIGITS = torch.linspace(-1, 1, 2 * 28 * 28).view(2, 1, 28, 28)


def figures(generator: Path, tokenizer: Path) -> dict[str, torch.Tensor]:
    """What a release's models give: tokens of two pictures, these decoded, and samples of every mode."""
    loaded, coder = load_generator(generator), load_tokenizer(tokenizer)
    tokens = coder.encode(DIGITS)
    found = {"tokens": tokens.values, "decoded": coder.decode(tokens)}
    for mode in loaded.paradigm.modes():
        found[f"tokens.{mode}"] = sample_images(loaded, mode, torch.tensor([-1, 3]), SampleOptions(), seed=7).tokens
    return found


def write(out: Path) -> None:
    """All of it."""
    folder = Digits.make_fake(out / "digits", 20)["folder"]
    common = [*QUICK, *SMALL, f"--data.folder={folder}"]
    assert main(["fit", *TOKENIZER, *common, f"--run={out / 'tokenizer'}"]) == 0
    assert (
        main(["fit", *GENERATOR, *common, f"--data.tokenizer={out / 'tokenizer'}", f"--run={out / 'generator'}"]) == 0
    )
    save_export(out / "generator", out / "export")
    save_file(figures(out / "generator", out / "tokenizer"), out / "figures.safetensors")
    shutil.rmtree(out / "digits")
    for before in out.rglob("last-before.ckpt"):
        before.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""A run that was exported by an earlier commit still loads, and draws what it drew then.

Formats and names of weights change with a new fixture only: train Masked on made-up digits for 40 steps (dim 16, one
block, 4 bits), export it, and save what it samples for the classes 0, 1 and 2.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

from mmgen.modalities.image.sampling import sample_images
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import load_generator

EXPORTED = Path(__file__).parent / "exported"


def test_it_draws_the_same_samples() -> None:
    samples = sample_images(SamplingTask(load_generator(EXPORTED), None, {"class": torch.arange(3)}))
    expected = load_file(EXPORTED / "samples.safetensors")
    assert torch.equal(samples.tokens, expected["tokens"])
    torch.testing.assert_close(samples.images, expected["images"], rtol=0, atol=1e-4)

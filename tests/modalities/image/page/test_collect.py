from pathlib import Path

import pytest
import torch

from mmgen.modalities.image.page.collect import film
from mmgen.modalities.image.sampling import sample_images
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import class_labels
from mmgen.store.store import load_generator
from tests.tiny_runs import generator_run, tokenizer_run


@pytest.mark.parametrize(("mode", "passes"), [("ar", 16), ("masked", 3), ("block", 8)])
def test_a_film_shows_the_samples_as_they_come(tmp_path: Path, mode: str, passes: int) -> None:
    loaded = load_generator(generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok")))
    assert loaded.tokenizer is not None
    sampled = sample_images(loaded, mode, class_labels([], 3, loaded), SampleOptions(), keep_states=True)
    assert sampled.states is not None
    made = film(loaded.tokenizer, sampled.states)
    assert made.passes == list(range(passes + 1))
    assert made.images.shape == (passes + 1, 3, 1, 8, 8)
    assert made.committed.shape == (passes + 1, 3, 1, 4, 4)
    assert torch.equal(made.images[-1], sampled.images)
    assert not made.committed[0].any()
    assert bool(made.committed[-1].all())
    assert bool((made.committed[1:] >= made.committed[:-1]).all())  # nothing is taken back
    assert bool((made.committed[1:] != made.committed[:-1]).flatten(2).any(2).all())  # every pass adds something

from pathlib import Path

import pytest
import torch

from mmgen.gallery.collect import curve, film, mask_pictures
from mmgen.masks import CATALOGUE
from mmgen.paradigms import SampleOptions
from mmgen.sampling import class_labels, sample_images
from mmgen.store import load_generator
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


def test_a_curve_joins_the_logs_of_a_run_and_of_its_resumption(tmp_path: Path) -> None:
    for version, rows in (("0", "0,9,1.5,\n0,9,,2.5\n"), ("1", "0,19,0.5,\n")):
        file = tmp_path / "logs" / "csv" / f"version_{version}" / "metrics.csv"
        file.parent.mkdir(parents=True)
        file.write_text("epoch,step,train/ar,val/ar\n" + rows)
    made = curve(tmp_path, "Run", "nats", {"ar": "train/ar"}, {"ar": "val/ar", "other": "val/other"})
    assert made.lines == {"ar": [(10, 1.5), (20, 0.5)]}
    assert made.points == {"ar": [(10, 2.5)], "other": []}


def test_the_masks_in_use_come_first_with_their_modes(tmp_path: Path) -> None:
    loaded = load_generator(generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok")))
    cards = mask_pictures(loaded.paradigm.modes())
    assert [(card.name, card.modes) for card in cards[:3]] == [
        ("causal", ["ar"]), ("bidirectional", ["masked"]), ("skip_causal", ["block"]),
    ]  # fmt: skip
    assert sorted(card.name for card in cards) == sorted(CATALOGUE)
    assert all(card.webp.startswith(b"RIFF") and card.sentence for card in cards)

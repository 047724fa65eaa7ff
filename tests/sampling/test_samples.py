from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.image.sampling import ImageSamples, region, sample_images, state_images
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.sampling.samples import SamplingTask, class_labels
from mmgen.store.store import Loaded, load_generator
from tests.tiny_runs import AR, generator_run, tokenizer_run

MODES = ["ar", "masked", "block"]
GUIDED = SampleOptions(steps=2, guidance=Guidance(2.0), decoding=Decoding(top_p=0.95))
LABELS = torch.arange(7) % 3


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """In float64, where a batch rounds as its rows do."""
    folder = tmp_path_factory.mktemp("runs")
    found = load_generator(generator_run(folder / "gen", tokenizer_run(folder / "tok")))
    found.generator.double()
    return found


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(generator_run(folder / "gen", tokenizer_run(folder / "tok"), classes=0, paradigm=AR))


def draw(
    loaded: Loaded, mode: str | None, labels: Tensor, options: SampleOptions, keep_states: bool = False, **how: Any
) -> ImageSamples:
    return sample_images(SamplingTask(loaded, mode, {"class": labels}, options, **how), keep_states)


@pytest.mark.parametrize("mode", MODES)
def test_images_are_the_decoded_tokens(mode: str, loaded: Loaded) -> None:
    sampled = draw(loaded, mode, LABELS, GUIDED)
    assert loaded.tokenizer is not None
    assert sampled.images.shape == (7, 1, 8, 8)
    assert sampled.images.abs().max() <= 1
    again = loaded.tokenizer.decode(type(loaded.tokenizer.encode(sampled.images))(sampled.tokens, (1, 4, 4)))
    assert torch.equal(sampled.images, again)


@pytest.mark.parametrize("mode", MODES)
def test_the_class_matters_and_guidance_does(mode: str, loaded: Loaded) -> None:
    plain = SampleOptions(steps=2)
    ones, twos = (draw(loaded, mode, torch.full((7,), label), plain).tokens for label in (1, 2))
    assert not torch.equal(ones, twos)
    guided = draw(loaded, mode, torch.full((7,), 1), replace(plain, guidance=Guidance(4.0))).tokens
    assert not torch.equal(ones, guided)


def test_steps_and_passes_are_counted(loaded: Loaded) -> None:
    counted = {mode: draw(loaded, mode, LABELS, GUIDED, batch=3) for mode in MODES}
    assert {mode: each.steps for mode, each in counted.items()} == {"ar": 16, "masked": 2, "block": 8}
    assert {mode: each.forward_passes for mode, each in counted.items()} == {"ar": 16, "masked": 2, "block": 8}
    assert all(each.seconds > 0 for each in counted.values())


@pytest.mark.parametrize("mode", MODES)
def test_states_lead_from_nothing_to_the_samples(mode: str, loaded: Loaded) -> None:
    options = replace(
        GUIDED, decoding=Decoding(select="entropy_bound", entropy_bound=2.0)
    )  # batches of different length
    sampled = draw(loaded, mode, LABELS, options, batch=2, keep_states=True)
    assert sampled.states is not None
    counts = torch.stack([state.committed.sum(1) for state in sampled.states])
    assert (counts[0] == 0).all()
    assert (counts[-1] == 16).all()
    assert (counts.diff(dim=0) >= 0).all()
    assert torch.equal(sampled.states[-1].tokens, sampled.tokens)
    for before, after in zip(sampled.states, sampled.states[1:]):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
    assert draw(loaded, mode, LABELS, options).states is None


def test_open_places_are_grey_and_closed_ones_are_not(loaded: Loaded) -> None:
    assert loaded.tokenizer is not None
    states = draw(loaded, "masked", LABELS, replace(GUIDED, steps=4), keep_states=True).states
    assert states is not None
    assert (state_images(loaded.tokenizer, states[0]) == 0).all()
    middle = state_images(loaded.tokenizer, states[2])
    places = (
        middle.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2).flatten(1, 3)
    )  # (B, 16, 4): the 2x2 pixels of each token
    assert (places[~states[2].committed] == 0).all()
    assert (places[states[2].committed] != 0).any(-1).float().mean() > 0.9


@pytest.mark.parametrize("mode", MODES)
def test_what_is_kept_stays(mode: str, loaded: Loaded) -> None:
    known = torch.arange(16)[None]
    keep = region("0:2", loaded.spec)[None]
    filled = draw(loaded, mode, LABELS, GUIDED, known=known, keep=keep)
    free = draw(loaded, mode, LABELS, GUIDED)
    assert torch.equal(filled.tokens[:, :8], known[:, :8].expand(7, -1))
    assert not torch.equal(free.tokens[:, :8], filled.tokens[:, :8])
    assert len({tuple(row) for row in filled.tokens[:, 8:].tolist()}) > 1


def test_what_cannot_be_kept_is_refused(loaded: Loaded) -> None:
    known, keep = torch.arange(16)[None], region("2:", loaded.spec)[None]
    with pytest.raises(UserError, match="keep"):
        draw(loaded, "ar", LABELS, GUIDED, known=known, keep=keep)


def places(mask: Tensor) -> list[str]:
    return ["".join(".#"[int(place)] for place in row) for row in mask.view(4, 4)]


def test_regions(loaded: Loaded) -> None:
    assert places(region("0:2", loaded.spec)) == ["####", "####", "....", "...."]
    assert places(region("1:3,2:", loaded.spec)) == ["....", "..##", "..##", "...."]
    assert places(region(":,:-3", loaded.spec)) == ["#...", "#...", "#...", "#..."]
    for wrong in ("", "2", "a:b", "0:1,0:1,0:1", "0:1:2"):
        with pytest.raises(UserError, match="must be ROWS or ROWS,COLUMNS"):
            region(wrong, loaded.spec)
    with pytest.raises(UserError, match="no place of the token grid of 4 rows and 4 columns"):
        region("7:9", loaded.spec)


def test_classes_by_name_by_number_and_in_turn(loaded: Loaded, unconditional: Loaded) -> None:
    assert class_labels([], 4, loaded).tolist() == [0, 1, 2, 0]
    assert class_labels(["two", "0"], 3, loaded).tolist() == [2, 0, 2]
    assert class_labels(["none"], 2, loaded).tolist() == [-1, -1]
    assert class_labels([], 2, unconditional).tolist() == [-1, -1]


def test_a_class_unknown_names_the_nearest(loaded: Loaded, unconditional: Loaded) -> None:
    with pytest.raises(UserError, match=r"gen: --class 'tow' is unknown: known are zero, one, two; .* 'two'\?"):
        class_labels(["tow"], 1, loaded)
    with pytest.raises(UserError, match="was trained without class"):
        class_labels(["two"], 1, unconditional)


def test_guidance_needs_what_it_strengthens(loaded: Loaded, unconditional: Loaded) -> None:
    with pytest.raises(UserError, match=r"--cfg 2.0 cannot guide .*: guidance needs a conditional model"):
        draw(unconditional, None, torch.tensor([-1]), GUIDED)
    with pytest.raises(UserError, match="not every sample has a class"):
        draw(loaded, "ar", torch.tensor([0, -1]), GUIDED)


def test_guidance_needs_an_unconditional_side(tmp_path: Path) -> None:
    import yaml

    run = generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["conditions"] = {"class": {"class_path": "ClassLabel", "init_args": {"dropout": 0.0}}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="it was not trained without class"):
        draw(load_generator(run), "ar", torch.tensor([0]), GUIDED)

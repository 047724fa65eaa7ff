from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.image.sampling import region, sample_images, state_images
from mmgen.paradigms import Decoding, Guidance, SampleOptions
from mmgen.sampling.samples import class_labels, pick_device, pick_mode
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


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_depends_on_seed_and_number_alone(mode: str, loaded: Loaded) -> None:
    whole = sample_images(loaded, mode, LABELS, GUIDED, seed=5, batch=7)
    for batch in (1, 3):
        assert torch.equal(sample_images(loaded, mode, LABELS, GUIDED, seed=5, batch=batch).tokens, whole.tokens)
    part = sample_images(loaded, mode, LABELS[4:6], GUIDED, seed=5, first_sample=4)
    assert torch.equal(part.tokens, whole.tokens[4:6])
    torch.testing.assert_close(part.images, whole.images[4:6])
    assert not torch.equal(sample_images(loaded, mode, LABELS, GUIDED, seed=6).tokens, whole.tokens)
    assert not torch.equal(whole.tokens[0], whole.tokens[3])  # same class, another number


@pytest.mark.parametrize("mode", MODES)
def test_images_are_the_decoded_tokens(mode: str, loaded: Loaded) -> None:
    sampled = sample_images(loaded, mode, LABELS, GUIDED)
    assert loaded.tokenizer is not None
    assert sampled.images.shape == (7, 1, 8, 8)
    assert sampled.images.abs().max() <= 1
    again = loaded.tokenizer.decode(type(loaded.tokenizer.encode(sampled.images))(sampled.tokens, (1, 4, 4)))
    assert torch.equal(sampled.images, again)


@pytest.mark.parametrize("mode", MODES)
def test_the_class_matters_and_guidance_does(mode: str, loaded: Loaded) -> None:
    plain = SampleOptions(steps=2)
    ones, twos = (sample_images(loaded, mode, torch.full((7,), label), plain).tokens for label in (1, 2))
    assert not torch.equal(ones, twos)
    guided = sample_images(loaded, mode, torch.full((7,), 1), replace(plain, guidance=Guidance(4.0))).tokens
    assert not torch.equal(ones, guided)


def test_steps_and_passes_are_counted(loaded: Loaded) -> None:
    counted = {mode: sample_images(loaded, mode, LABELS, GUIDED, batch=3) for mode in MODES}
    assert {mode: each.steps for mode, each in counted.items()} == {"ar": 16, "masked": 2, "block": 8}
    assert {mode: each.forward_passes for mode, each in counted.items()} == {"ar": 16, "masked": 2, "block": 8}
    assert all(each.seconds > 0 for each in counted.values())


@pytest.mark.parametrize("mode", MODES)
def test_states_lead_from_nothing_to_the_samples(mode: str, loaded: Loaded) -> None:
    options = replace(
        GUIDED, decoding=Decoding(select="entropy_bound", entropy_bound=2.0)
    )  # batches of different length
    sampled = sample_images(loaded, mode, LABELS, options, batch=2, keep_states=True)
    assert sampled.states is not None
    counts = torch.stack([state.committed.sum(1) for state in sampled.states])
    assert (counts[0] == 0).all()
    assert (counts[-1] == 16).all()
    assert (counts.diff(dim=0) >= 0).all()
    assert torch.equal(sampled.states[-1].tokens, sampled.tokens)
    for before, after in zip(sampled.states, sampled.states[1:]):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
    assert sample_images(loaded, mode, LABELS, options).states is None


def test_open_places_are_grey_and_closed_ones_are_not(loaded: Loaded) -> None:
    assert loaded.tokenizer is not None
    states = sample_images(loaded, "masked", LABELS, replace(GUIDED, steps=4), keep_states=True).states
    assert states is not None
    assert (state_images(loaded.tokenizer, states[0]) == 0).all()
    middle = state_images(loaded.tokenizer, states[2])
    places = (
        middle.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2).flatten(1, 3)
    )  # (B, 16, 4): the 2x2 pixels of each token
    assert (places[~states[2].committed] == 0).all()
    assert (places[states[2].committed] != 0).any(-1).float().mean() > 0.9


def test_progress_climbs_to_the_number_of_samples(loaded: Loaded) -> None:
    seen: list[float] = []
    sample_images(loaded, "masked", LABELS, GUIDED, batch=3, progress=seen.append)
    assert seen[0] == 0
    assert seen[-1] == 7
    assert seen == sorted(seen)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_kept_stays(mode: str, loaded: Loaded) -> None:
    known = torch.arange(16)[None]
    keep = region("0:2", loaded.spec)[None]
    filled = sample_images(loaded, mode, LABELS, GUIDED, known=known, keep=keep)
    free = sample_images(loaded, mode, LABELS, GUIDED)
    assert torch.equal(filled.tokens[:, :8], known[:, :8].expand(7, -1))
    assert not torch.equal(free.tokens[:, :8], filled.tokens[:, :8])
    assert len({tuple(row) for row in filled.tokens[:, 8:].tolist()}) > 1


def test_what_cannot_be_kept_is_refused(loaded: Loaded) -> None:
    known, keep = torch.arange(16)[None], region("2:", loaded.spec)[None]
    with pytest.raises(UserError, match="keep"):
        sample_images(loaded, "ar", LABELS, GUIDED, known=known, keep=keep)


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


@pytest.mark.parametrize("name", ["3", "-1", "99"])
def test_a_class_out_of_range_names_the_range(name: str, loaded: Loaded) -> None:
    with pytest.raises(UserError, match=f"class {name} is out of range: .*gen knows classes 0 to 2"):
        class_labels([name], 1, loaded)


def test_a_class_unknown_names_the_nearest(loaded: Loaded, unconditional: Loaded) -> None:
    with pytest.raises(UserError, match=r"class 'tow' is unknown: .* zero, one, two; did you mean 'two'\?"):
        class_labels(["tow"], 1, loaded)
    with pytest.raises(UserError, match="was trained without classes"):
        class_labels(["two"], 1, unconditional)


def test_labels_are_checked_where_they_enter(loaded: Loaded) -> None:
    for wrong in (3, -2):
        with pytest.raises(UserError, match=f"class {wrong} is out of range"):
            sample_images(loaded, "ar", torch.tensor([0, wrong]), GUIDED)


def test_a_mode_that_was_not_trained_names_those_that_were(loaded: Loaded, unconditional: Loaded) -> None:
    with pytest.raises(
        UserError, match=r"not trained for --mode maskd; it was for: ar, masked, block; did you mean 'masked'\?"
    ):
        pick_mode(loaded, "maskd")
    with pytest.raises(UserError, match="choose --mode ar or masked or block"):
        pick_mode(loaded, None)
    assert pick_mode(unconditional, None) is unconditional.paradigm


def test_guidance_needs_what_it_strengthens(loaded: Loaded, unconditional: Loaded) -> None:
    with pytest.raises(UserError, match=r"--cfg 2.0 cannot guide .*: guidance needs a conditional model"):
        sample_images(unconditional, None, torch.tensor([-1]), GUIDED)
    with pytest.raises(UserError, match="not every sample has a class"):
        sample_images(loaded, "ar", torch.tensor([0, -1]), GUIDED)


def test_guidance_needs_an_unconditional_side(tmp_path: Path) -> None:
    import yaml

    run = generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["conditions"] = {"class": {"class_path": "ClassLabel", "init_args": {"dropout": 0.0}}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="it was not trained without class"):
        sample_images(load_generator(run), "ar", torch.tensor([0]), GUIDED)


def test_tokens_without_a_tokenizer_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no tokenizer"):
        sample_images(load_generator(generator_run(tmp_path / "gen", None)), "ar", torch.tensor([0]), SampleOptions())


def test_an_unknown_device_is_named() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device toaster is not available"):
        pick_device("toaster")

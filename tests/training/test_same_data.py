"""A model meets only data whose values mean what they meant in its training, whatever the command."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgen.apps.cli.main import main
from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FrameNames, FreeText, Names
from mmgen.data.build import require_same_values, trained_source
from mmgen.store.store import CHECKPOINT, load_generator
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, fit

FACTS = Facts(
    TokenSpec("categorical", 8, (1, 2, 2)),
    {"class": Names(("cat", "dog")), "actions": FrameNames(("left", "right")), "text": Text("ab", 4)},
    fps=10.0,
    sample_rate=16000,
    tokenizer_path="runs/tok",
    tokenizer_hash="0123",
    more={"skeleton": {"parents": (-1, 0)}},
)
CHANGES = {
    "tokens": ({"spec": TokenSpec("categorical", 16, (1, 2, 2))}, r"spec\.size 8, .* has 16"),
    "order": ({"conditions": FACTS.conditions | {"class": Names(("dog", "cat"))}}, r"class\.names\.0 'cat', .* 'dog'"),
    "more": (
        {"conditions": FACTS.conditions | {"class": Names(("cat", "dog", "cow"))}},
        r"class\.names of length 2, .* 3",
    ),
    "actions": (
        {"conditions": FACTS.conditions | {"actions": FrameNames(("left", "up"))}},
        r"actions\.names\.1 'right', .* 'up'",
    ),
    "alphabet": ({"conditions": FACTS.conditions | {"text": Text("ba", 4)}}, r"text\.alphabet 'ab', .* 'ba'"),
    "none": ({"conditions": {}}, r"class {.*}, .* None"),
    "frames": ({"fps": 12.5}, r"fps 10\.0, .* 12\.5"),
    "rate": ({"sample_rate": 8000}, r"sample_rate 16000, .* 8000"),
    "skeleton": ({"more": {"skeleton": {"parents": (-1, 1)}}}, r"more\.skeleton\.parents\.1 0, .* 1"),
    "tokenizer": ({"tokenizer_hash": "4567"}, r"the tokenizer runs/tok has been trained anew since RUN"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_fact_is_compared(name: str) -> None:
    changes, message = CHANGES[name]
    with pytest.raises(UserError, match=message):
        Facts(**{**vars(FACTS), **changes}).require_same(FACTS.to_dict(), "RUN")


def test_facts_that_mean_the_same_are_the_same() -> None:
    """Elsewhere, with numbers that were rounded otherwise, or of a tokenizer whose weights are not known."""
    trained = Facts(**vars(FACTS) | {"fps": 10.0 * (1 + 1e-12), "tokenizer_path": "old/place"}).to_dict()
    FACTS.require_same(trained, "RUN")
    Facts(**vars(FACTS) | {"tokenizer_hash": None}).require_same(trained, "RUN")
    FACTS.require_same(trained | {"more": {"skeleton": {"parents": [-1, 0]}}}, "RUN")  # as JSON has it


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory) -> tuple[Path, Path, list[str]]:
    """A generator and its tokenizer, of a folder of images of two classes."""
    folder = tmp_path_factory.mktemp("images")
    for split in ("train", "val"):
        for kind in ("cat", "dog"):
            (folder / "data" / split / kind).mkdir(parents=True)
            for number in range(4):
                pixels = torch.randint(0, 256, (28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
                Image.fromarray(pixels.numpy()).save(folder / "data" / split / kind / f"{number}.png")
    options = ["--data.source=ImageFolder", f"--data.source.root={folder / 'data'}", "--data.source.image_size=28"]
    options += ["--data.source.channels=1", "--data.global_batch_size=4", "--trainer.max_steps=2"]
    tokenizer = fit(folder / "tok", *TOKENIZER, *options)
    run = fit(folder / "gen", *GENERATOR, *options, f"--data.tokenizer={tokenizer}")
    return folder, run, options


COMMANDS = {
    "fit": lambda run: ["fit", *QUICK, f"--config={run / 'config.yaml'}", "--ckpt_path=last", "--trainer.max_steps=4"],
    "validate": lambda run: ["validate", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"],
    "test": lambda run: ["test", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"],
    "evaluate": lambda run: ["evaluate", str(run), "--num=4", "--steps=2", "--extractor=pixels", "--device=cpu"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_data_that_changed_under_a_run_is_refused(command, trained, tmp_path, capsys, monkeypatch):
    """A class of another name; and a tokenizer that was trained anew."""
    folder, run, options = trained
    before = (run / CHECKPOINT).read_bytes()
    (folder / "data" / "train" / "dog").rename(folder / "data" / "train" / "wolf")
    (folder / "data" / "val" / "dog").rename(folder / "data" / "val" / "wolf")
    try:
        assert main(COMMANDS[command](run)) == 2
        assert "class.names.1 'dog', and this data has 'wolf'" in capsys.readouterr().err
    finally:
        (folder / "data" / "train" / "wolf").rename(folder / "data" / "train" / "dog")
        (folder / "data" / "val" / "wolf").rename(folder / "data" / "val" / "dog")
    shutil.move(folder / "tok", tmp_path / "tok")
    try:
        fit(folder / "tok", *TOKENIZER, *options, "--trainer.max_steps=3")
        capsys.readouterr()
        assert main(COMMANDS[command](run)) == 2
        assert "has been trained anew since" in capsys.readouterr().err
    finally:
        shutil.rmtree(folder / "tok")
        shutil.move(tmp_path / "tok", folder / "tok")
    assert (run / CHECKPOINT).read_bytes() == before
    assert main(COMMANDS[command](run) if command != "fit" else COMMANDS["validate"](run)) == 0


def test_samples_that_begin_as_held_out_ones_do_meet_the_same_check(trained):
    """Whatever command takes the run's own data; data that are named may lack conditions, and have any texts."""
    _, run, _ = trained
    loaded = load_generator(run)
    facts = loaded.facts.to_dict()
    source = trained_source(loaded.config, facts, "RUN")
    assert source.class_names == ["cat", "dog"]
    renamed = facts | {"conditions": {"class": Names(("cat", "cow")).to_dict(), "caption": FreeText("abc").to_dict()}}
    with pytest.raises(UserError, match=r"RUN was trained on data with class\.names\.1 'cow'"):
        trained_source(loaded.config, renamed, "RUN")
    require_same_values(source, facts | {"sample_rate": 8000}, "RUN", other=True)
    with pytest.raises(UserError, match="sample_rate 8000"):
        require_same_values(source, facts | {"sample_rate": 8000}, "RUN", other=False)


def test_a_tokenizer_may_be_measured_on_other_classes(trained, tmp_path):
    """It reads none; a run that goes on is another thing."""
    folder, _, options = trained
    shutil.copytree(folder / "data", tmp_path / "data")
    for split in ("train", "val"):
        (tmp_path / "data" / split / "dog").rename(tmp_path / "data" / split / "wolf")
    other = [*TOKENIZER, *options, f"--data.source.root={tmp_path / 'data'}", f"--run={folder / 'tok'}"]
    assert main(["validate", *other, "--trainer.accelerator=cpu"]) == 0
    assert main(["fit", *QUICK, *other, "--trainer.max_steps=3", "--ckpt_path=last"]) == 2

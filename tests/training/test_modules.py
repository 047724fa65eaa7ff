"""What a run leaves behind: losses, averages, pictures, logs, a table, and a checkpoint that rebuilds it."""

import csv
import io
import math

import pytest
import torch
from rich.console import Console

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.media.images import psnr_db
from mmgen.paradigms import Autoregressive
from mmgen.store.store import load_generator, load_tokenizer
from mmgen.training import GeneratorModule
from mmgen.training.averaging import EMA
from mmgen.training.previews import SampleGrids
from mmgen.training.startup import Part, table
from tests.training.fits import GENERATOR, QUICK, TOKENIZER, checkpoint


def test_psnr_knows_itself():
    x = torch.rand(2, 1, 4, 4) * 2 - 1
    assert psnr_db(x, x).tolist() == [100, 100]
    assert psnr_db(torch.ones(1, 4), -torch.ones(1, 4)).item() == pytest.approx(0, abs=1e-5)
    assert psnr_db(x + 0.02, x.clamp(-0.9, 0.9)).max() < 41
    assert psnr_db(torch.full((1, 4), 9.0), torch.ones(1, 4)).item() == pytest.approx(100)  # clamped first


def test_the_average_is_the_one_it_says():
    """After n updates the decay is min(limit, (1 + n) / (10 + n)), whether n is a number or a tensor."""
    ema, average, expected = EMA(0.3), torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for updates in range(1, 8):
        current = torch.full((3,), float(updates), dtype=torch.float64)
        decay = min(0.3, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * current
        torch.testing.assert_close(ema.update(average, current, updates), expected)
        average = ema.update(average, current, torch.tensor(updates))
        torch.testing.assert_close(average, expected)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_an_average_that_would_never_move_is_refused(decay):
    with pytest.raises(UserError, match=r"ema\.decay"):
        EMA(decay)


def test_an_average_of_16_bits_is_refused(digits, tmp_path, capsys):
    options = [*TOKENIZER, *digits, "--data.global_batch_size=4", "--trainer.max_steps=2", "--ema.decay=0.9"]
    assert main(["fit", *options, *QUICK, "--trainer.precision=bf16-true", f"--run={tmp_path / 'run'}"]) == 2
    assert "bf16-mixed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def told(digits, tokenizer, tmp_path_factory):
    """A generator's run with everything on, and what it said."""
    run = tmp_path_factory.mktemp("runs") / "all"
    options = [
        *GENERATOR,
        *digits,
        f"--data.tokenizer={tokenizer}",
        "--data.global_batch_size=4",
        "--trainer.max_steps=4",
    ]
    options += [
        "--ema.decay=0.9",
        "--model.optimizer.lr=1e-4",
        "--trainer.val_check_interval=2",
        "--trainer.precision=bf16-mixed",
    ]
    lively = [option for option in QUICK if not option.startswith(("--samples", "--trainer.logger"))]
    pictures = SampleGrids._previews
    with pytest.MonkeyPatch.context() as patch:
        said, drawn_with = [], []

        def draws(self, trainer, pl_module):
            drawn_with.append(pl_module.generator.head.project.weight.clone())
            return pictures(self, trainer, pl_module)

        patch.setattr(SampleGrids, "_previews", draws)
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        assert main(["fit", *options, *lively, "--samples.count=3", f"--run={run}"]) == 0
    assert drawn_with[-1].equal(checkpoint(run)["state_dict"]["generator.head.project.weight"])  # the average
    return run, "\n".join(said)


def test_losses_are_logged_by_mode(told):
    run, _ = told
    bits = checkpoint(run)["mmgen"]["spec"]["size"]
    rows = list(csv.DictReader((run / "logs/csv/version_0/metrics.csv").open()))
    for mode in ("ar", "masked", "block"):
        values = [float(row[f"val/{mode}"]) for row in rows if row.get(f"val/{mode}")]
        assert len(values) == 2
        assert values[0] == pytest.approx(bits * math.log(2), rel=0.02)  # nothing is known about them yet
    assert [row for row in rows if row.get("train/tokens_per_second")]
    assert list((run / "logs/tensorboard").glob("events*"))


def test_samples_of_every_mode_are_drawn(told):
    run, _ = told
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == [f"{mode}-{step:07d}.png" for mode in ("ar", "block", "masked") for step in (2, 4)]


def test_the_end_is_told(told):
    run, said = told
    assert "step 4/4" in said
    assert "tokens/s" in said
    assert f"run folder: {run}" in said


def test_the_checkpoint_rebuilds_with_the_averaged_weights(told, tokenizer):
    run, _ = told
    loaded, saved = load_generator(run), checkpoint(run)
    assert loaded.step == 4
    assert loaded.facts.class_names == [str(digit) for digit in range(10)]
    assert loaded.paradigm.modes().keys() == {"ar", "masked", "block"}
    for name, value in loaded.generator.state_dict().items():
        assert value.equal(saved["state_dict"][f"generator.{name}"])
    assert not saved["state_dict"]["generator.head.project.weight"].equal(
        saved["current_model_state"]["generator.head.project.weight"]
    )
    assert not [name for name in saved["state_dict"] if "tokenizer" in name]  # frozen parts are not saved twice
    assert "hyper_parameters" not in saved
    for one, other in zip(loaded.tokenizer.parameters(), load_tokenizer(tokenizer).parameters(), strict=True):
        assert one.equal(other)


def test_a_run_is_measured_again(told, capsys):
    run, _ = told
    assert main(["validate", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"]) == 0
    assert "val/masked" in capsys.readouterr().out
    assert main(["test", f"--config={run / 'config.yaml'}", "--trainer.accelerator=cpu"]) == 0
    assert "test/masked" in capsys.readouterr().out


def test_a_generator_without_tokens_is_refused():
    with pytest.raises(UserError, match=r"data\.tokenizer"):
        GeneratorModule(Facts(), 0, None, Autoregressive())


def test_the_table_adds_up():
    rows = [Part("a", 1000, 1000, "from scratch", 4000, 12000), Part("b", 500, 0, "runs/b", 2000, 0)]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(rows, "title"))
    text = console.export_text()
    assert "frozen" in text
    assert "1,500" in text
    assert "6.0 kB" in text
    assert "+ 12.0 kB" in text

"""What earlier releases wrote still loads, gives the same, and trains on."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmgen.checkpoint_file import check_seal
from tests.lit.fits import checkpoint, fake, fit
from tests.upgrade.write import figures

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "figures.safetensors").exists())


def test_the_first_release_is_kept() -> None:
    assert RELEASES[0] == "0.1.0"


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, for nothing there may change; at a path that ends as where it was written."""
    return shutil.copytree(HERE / request.param, tmp_path / "tests" / "upgrade" / request.param)


@pytest.mark.parametrize("form", ["generator", "export"])
def test_models_give_the_same(release: Path, form: str) -> None:
    tokenizer = release / ("tokenizer" if form == "generator" else "export/tokenizer")
    expected, found = load_file(release / "figures.safetensors"), figures(release / form, tokenizer)
    assert found.keys() == expected.keys()
    assert len(found) >= 5
    for name, value in expected.items():
        if value.is_floating_point():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4, msg=name)
        else:
            assert found[name].equal(value), name


@pytest.mark.parametrize("part", ["tokenizer", "generator"])
def test_training_goes_on(release: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the config and the checkpoint; only the data is named anew."""
    check_seal(release / part / "checkpoints" / "last.ckpt")
    options = [f"--config={release / part / 'config.yaml'}", *fake(release / "digits"), "--ckpt_path=last"]
    if part == "generator":
        options.append(f"--data.tokenizer={release / 'tokenizer'}")
    run = fit(release / part, *options, "--trainer.max_steps=4")
    assert checkpoint(run)["global_step"] == 4


def test_the_export_trains_again(release: Path) -> None:
    options = [f"--config={release / 'export' / 'config.yaml'}", *fake(release / "digits"), "--trainer.max_steps=1"]
    options.append(f"--data.tokenizer={release / 'export' / 'tokenizer'}")
    assert checkpoint(fit(release / "again", *options))["global_step"] == 1

from pathlib import Path

import pytest
import torch
import yaml

from mmgen.apps.cli.main import main
from mmgen.modalities.image.sampling import sample_images
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import load_generator, load_tokenizer, weights_hash
from tests.tiny_runs import generator_run, tokenizer_run


def test_it_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = generator_run(tmp_path / "gen", tokenizer_run(tmp_path / "tok"), current_model_state={})
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert f"generator of {run} after 12 steps" in told
    assert "the average over training (EMA)" in told
    assert f"mmgen fit --config {tmp_path / 'out' / 'config.yaml'}" in told
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")) == [
        "config.yaml", "model.safetensors", "tokenizer/config.yaml", "tokenizer/model.safetensors",
    ]  # fmt: skip
    assert main(["export", str(tmp_path / "tok"), "--out", str(tmp_path / "only")]) == 0
    assert "as trained (the run kept no average)" in capsys.readouterr().out


def test_by_default_it_takes_the_name_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tokenizer_run(Path("runs") / "fine")
    assert main(["export", str(run)]) == 0
    assert load_tokenizer(tmp_path / "exports" / "fine").spec.size == 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two steps, as the real trainer leaves them: tok, and gen with an average of its weights."""
    from mmgen.modalities.image.sources.digits import Digits

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        common = f"""--data.source Digits --data.global_batch_size 8 --trainer.max_steps 2 --trainer.accelerator cpu
            --trainer.logger false --data.source.folder={Digits.make_fake(folder / "digits")["folder"]}"""
        tokenizer = """--model TokenizerModule --model.tokenizer ConvImageTokenizer --model.tokenizer.width 8
            --model.tokenizer.quantizer BSQ --model.tokenizer.quantizer.bits 4"""
        generator = """--model GeneratorModule --model.backbone.dim 16 --model.backbone.depth 1 --model.backbone.heads 2
            --model.paradigm Masked --model.paradigm.steps 2 --data.tokenizer runs/tok --ema.decay 0.9"""
        assert main(["fit", "--run", "runs/tok", *tokenizer.split(), *common.split()]) == 0
        assert main(["fit", "--run", "runs/gen", *generator.split(), *common.split()]) == 0
    return folder


def test_a_trained_run_exports_its_average_and_trains_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    checkpoint = torch.load("runs/gen/checkpoints/last.ckpt", weights_only=True)
    assert main(["export", "runs/gen", "--out", str(tmp_path / "out")]) == 0
    monkeypatch.chdir(tmp_path)  # from here on the run is out of reach
    export = load_generator("out")
    state = export.generator.state_dict()
    average, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert all(torch.equal(value, average[f"generator.{name}"]) for name, value in state.items())
    assert any(not torch.equal(value, current[f"generator.{name}"]) for name, value in state.items())
    assert export.tokenizer is not None
    assert weights_hash(export.tokenizer) == weights_hash(load_tokenizer(trained / "runs" / "tok"))
    assert sample_images(SamplingTask(export, None, {"class": torch.arange(2)})).images.shape == (2, 1, 28, 28)

    # Where things lie on this machine, an export does not say.
    here = [f"--data.source.folder={trained / 'digits'}", "--data.tokenizer=out/tokenizer"]
    assert main(["fit", "--config", "out/config.yaml", "--trainer.max_steps", "1", *here]) == 0
    again = load_generator("runs/out")
    assert again.step == 1
    assert again.config["model"] == yaml.safe_load((trained / "runs" / "gen" / "config.yaml").read_text())["model"]
    assert load_generator(trained / "runs" / "gen").spec == again.spec
    assert main(["sample", "runs/out", "--num", "2"]) == 0

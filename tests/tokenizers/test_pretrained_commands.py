"""A folder of diffusers wherever a tokenizer is wanted: loading, exporting, tokenizing, training and sampling on it."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.data.sources import CachedTokens
from mmgen.modalities.image.sources.digits import Digits
from mmgen.store.store import load_generator, load_tokenizer, save_export, weights_hash
from tests.data_modules import data_section
from tests.modalities.image.tokenizers.test_pretrained import WEIGHTS, change, folder, images
from tests.tiny_runs import generator_run, tokenizer_run
from tests.training.fits import fake, fit


def test_a_folder_of_diffusers_is_a_tokenizer_and_becomes_an_export(tmp_path: Path) -> None:
    source, x = folder(tmp_path / "vae"), images()
    opened = load_tokenizer(source)
    save_export(source, tmp_path / "export")
    save_export(tmp_path / "export", tmp_path / "again")
    (source / WEIGHTS).unlink()  # an export needs nothing else
    for path in (tmp_path / "export", tmp_path / "again"):
        loaded = load_tokenizer(path)
        assert weights_hash(loaded) == weights_hash(opened)
        assert torch.equal(loaded.encode(x).values, opened.encode(x).values)
        assert "export of mmgen" in (path / "config.yaml").read_text()
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_command_chooses_size_and_patch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = change(folder(tmp_path / "vae"), sample_size=None)
    assert main(["export", str(source), "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["export", str(source), "--out", str(out), "--image_size", "24", "--patch", "2"]) == 0
    assert "trains again" not in capsys.readouterr().out
    loaded = load_tokenizer(out)
    assert (loaded.sample_shape, loaded.spec.grid, loaded.spec.size) == ((3, 24, 24), (1, 6, 6), 12)
    with pytest.raises(UserError, match=r"--patch: only for tokenizers that other packages published, and .* is none"):
        save_export(tokenizer_run(tmp_path / "run"), tmp_path / "no", patch=2)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "vae")
    state = load_file(source / WEIGHTS)
    state["decoder.conv_out.bias"][1] = float("nan")
    save_file(state, source / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"model.decoder.conv_out.bias holds NaN or infinity"):
        load_tokenizer(source)
    run = tokenizer_run(tmp_path / "run")
    checkpoint = torch.load(run / "checkpoints/last.ckpt")
    checkpoint["state_dict"]["tokenizer.encoder.0.0.1.bias"][0] = float("inf")
    torch.save(checkpoint, run / "checkpoints/last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt: encoder.0.0.1.bias holds NaN or infinity"):
        load_tokenizer(run)


def test_a_generator_of_its_codes_samples_and_exports(tmp_path: Path) -> None:
    source = folder(tmp_path / "vae", "vq")
    run = generator_run(tmp_path / "run", source)
    save_export(run, tmp_path / "export")
    for path in (run, tmp_path / "export"):
        loaded = load_generator(path)
        assert loaded.tokenizer is not None
        assert loaded.tokenizer.spec == loaded.spec
    exported = yaml.safe_load((tmp_path / "export/tokenizer/config.yaml").read_text())
    assert exported["model"]["init_args"]["tokenizer"]["class_path"].endswith("DiffusersTokenizer")
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        load_generator(source)


def test_digits_become_its_codes_and_a_generator_trains_on_them(tmp_path: Path) -> None:
    grey = {"in_channels": 1, "out_channels": 1, "sample_size": 28}
    digits, source = fake(tmp_path / "digits"), str(folder(tmp_path / "vae", "vq", **grey))
    data = tmp_path / "data.yaml"
    section = data_section("Digits", folder=str(tmp_path / "digits"))
    data.write_text(yaml.safe_dump({"data": section}))
    tokens = str(tmp_path / "tokens")
    assert main(["tokenize", source, "--data", str(data), "--out", tokens, "--device", "cpu"]) == 0
    stored = CachedTokens(tokens).samples("val").take(torch.arange(2))["values"]
    x = Digits(tmp_path / "digits").samples("val").take(torch.arange(2))["x"]
    assert torch.equal(stored.long(), load_tokenizer(source).encode(x).values)

    small = ["--model.backbone.dim=16", "--model.backbone.heads=2", "--model.backbone.depth=1"]
    steps = ["--trainer.max_steps=1", "--trainer.limit_val_batches=0", "--data.global_batch_size=2"]
    run = fit(tmp_path / "run", "--config=experiments/digits_ar", *digits, *small, *steps, f"--data.tokenizer={source}")
    out = tmp_path / "samples"
    assert main(["sample", str(run), "--num", "1", "--device", "cpu", "--out", str(out)]) == 0
    assert (out / "grid.png").is_file()


def test_images_are_reconstructed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mmgen.media.images import save_png, to_uint8

    save_png(to_uint8(images(1)[0]), tmp_path / "x.png")
    source, out = str(folder(tmp_path / "vae")), tmp_path / "out"
    assert main(["reconstruct", source, str(tmp_path / "x.png"), "--out", str(out), "--device", "cpu"]) == 0
    assert (out / "x.png").is_file()
    assert json.loads((tmp_path / "vae/config.json").read_text())["_class_name"] == "AutoencoderKL"

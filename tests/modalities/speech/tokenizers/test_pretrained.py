"""TransformersCodec against transformers itself on tiny random codecs, and every way a folder can be wrong."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.speech.tokenizers.pretrained import TransformersCodec, open_pretrained
from mmgen.store.rebuild import build_tokenizer
from mmgen.store.store import load_tokenizer, save_export, weights_hash
from mmgen.tokenizers.pretrained import CONFIG, library_of

WEIGHTS = TransformersCodec.weights
transformers = pytest.importorskip("transformers")

_NARROW = {"hidden_size": 8, "num_filters": 2, "upsampling_ratios": [4, 2], "codebook_size": 16, "codebook_dim": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "encodec": (
        "Encodec",
        _NARROW | {"sampling_rate": 800, "target_bandwidths": [0.4, 0.8, 1.6], "num_lstm_layers": 1},
    ),
    "dac": (
        "Dac",
        {
            "sampling_rate": 1000,
            "encoder_hidden_size": 2,
            "downsampling_ratios": [2, 5],  # an odd one, whose sounds end a little early
            "decoder_hidden_size": 16,
            "n_codebooks": 4,
            "codebook_size": 16,
            "codebook_dim": 4,
        },
    ),
    "mimi": (
        "Mimi",
        _NARROW
        | {
            "sampling_rate": 1600,
            "num_quantizers": 4,
            "vector_quantization_hidden_dimension": 8,
            "upsample_groups": 8,
            "num_hidden_layers": 1,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
    ),
}
STRIDES = {"encodec": 8, "dac": 10, "mimi": 16}


def peer(name: str, **changes: Any) -> Any:
    kind, options = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(options | changes))
    model = getattr(transformers, f"{kind}Model")(config).eval()
    for key, buffer in model.named_buffers():  # codebooks that are filled in training, and hold zeros before it
        if key.endswith((".embed", ".embed_avg", ".embed_sum")):
            buffer.normal_(std=0.3)
    return model


def folder(path: Path, name: str = "encodec", **changes: Any) -> Path:
    peer(name, **changes).save_pretrained(path)
    return path


def sounds(samples: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, samples, generator=torch.Generator().manual_seed(1)) * 2 - 1


def change(path: Path, **values: Any) -> Path:
    config = json.loads((path / CONFIG).read_text()) | values
    (path / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return path


def codes_of(name: str, model: Any, x: Tensor, levels: int) -> Tensor:
    """(B, levels, t), as transformers' documents say to get them."""
    if name == "encodec":
        return model.encode(x, bandwidth={1: 0.4, 2: 0.8, 4: 1.6}[levels]).audio_codes[0]
    if name == "dac":
        return model.encode(x, n_quantizers=levels).audio_codes
    return model.encode(x, num_quantizers=levels).audio_codes


def sound_of(name: str, model: Any, codes: Tensor) -> Tensor:
    if name == "encodec":
        return model.decode(codes[None], [None]).audio_values
    values = model.decode(audio_codes=codes).audio_values
    return values[:, None] if name == "dac" else values


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_tokens_and_sounds_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    model, stride = peer(name), STRIDES[name]
    folder(tmp_path, name)
    x = sounds(6 * stride)
    for levels in (1, 2, 4):
        tokenizer = open_pretrained(tmp_path, levels=levels, seconds=0.1)
        rate = model.config.sampling_rate
        assert tokenizer.spec == TokenSpec(
            "residual", 16, (10, 1, 1), levels, "speech", rate=rate / stride, stride=stride, first=stride
        )
        assert (tokenizer.sample_rate, tokenizer.sample_shape) == (rate, (1, rate // 10))
        tokens, codes = tokenizer.encode(x), codes_of(name, model, x, levels)
        assert codes.shape == (2, levels, 6) and len(codes.unique()) > 2
        assert torch.equal(tokens.values, rearrange(codes, "b q t -> b t q"))
        theirs = sound_of(name, model, codes)
        assert 0 <= x.shape[2] - theirs.shape[2] < stride
        expected = F.pad(theirs, (0, x.shape[2] - theirs.shape[2])).clamp(-1, 1)
        torch.testing.assert_close(tokenizer.decode(tokens), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_levels_between_any_length_and_fewer_levels(tmp_path: Path, name: str) -> None:
    tokenizer, stride = open_pretrained(folder(tmp_path, name), levels=3), STRIDES[name]
    for samples in (1, stride - 1, stride + 1, 5 * stride):
        x = sounds(samples)
        tokens = tokenizer.encode(x)
        assert tuple(tokens.values.shape) == (2, -(-samples // stride), 3)
        assert torch.equal(tokens.values, tokenizer.encode(F.pad(x, (0, -samples % stride))).values)
        sound = tokenizer.decode(tokens, samples)
        assert sound.shape == x.shape and sound.abs().max() <= 1
    coarse = Tokens(tokens.values[..., :1], tokens.grid)
    whole = open_pretrained(tmp_path, levels=1)
    assert torch.equal(tokenizer.decode(coarse), whole.decode(coarse))  # of a model that has no more


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_stands_for_a_tokenizer_and_becomes_an_export(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, x = folder(tmp_path / "codec", name), sounds(3 * STRIDES[name])
    opened = load_tokenizer(source)
    assert isinstance(opened, TransformersCodec) and opened.spec.levels == 4
    out = tmp_path / "export"
    assert main(["export", str(source), "--out", str(out), "--levels", "2"]) == 0
    assert "Loading" not in capsys.readouterr().err
    save_export(out, tmp_path / "again")
    (source / WEIGHTS).unlink()  # an export needs nothing else
    for path in (out, tmp_path / "again"):
        loaded = load_tokenizer(path)
        assert loaded.spec.levels == 2 and weights_hash(loaded) == weights_hash(opened)
        assert torch.equal(loaded.encode(x).values, opened.encode(x).values[..., :2])
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_choices_that_are_not_its_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path)
    with pytest.raises(UserError, match="--patch is for images"):
        save_export(source, tmp_path / "out", patch=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CONFIG).write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(UserError, match="--levels is for speech"):
        save_export(tmp_path / "other", tmp_path / "out", levels=2)
    with pytest.raises(UserError, match="has 1 to 4 levels to use, not 5"):
        open_pretrained(source, levels=5)
    with pytest.raises(UserError, match="has 1 to 4 levels to use, not 0"):
        open_pretrained(source, levels=0)
    with pytest.raises(UserError, match="at least one sample"):
        open_pretrained(source, seconds=0)


def test_it_is_frozen_and_rebuilt_from_its_description(tmp_path: Path) -> None:
    opened, x = open_pretrained(folder(tmp_path, "dac"), levels=2, seconds=0.5).train(), sounds(40)
    assert library_of(tmp_path) == "transformers"
    assert not any(parameter.requires_grad for parameter in opened.parameters())
    assert not any(module.training for module in opened.modules())
    with pytest.raises(UserError, match="used as they are"):
        opened(x)
    rebuilt = build_tokenizer(json.loads(json.dumps({"tokenizer": opened.describe()})), "config.yaml")
    rebuilt.load_state_dict(opened.state_dict())
    assert rebuilt.spec == opened.spec
    assert torch.equal(rebuilt.encode(x).values, opened.encode(x).values)


def test_half_precision_files_are_read_in_single(tmp_path: Path) -> None:
    peer("dac").half().save_pretrained(tmp_path)
    tokenizer = open_pretrained(tmp_path)
    assert {each.dtype for each in tokenizer.model.parameters()} == {torch.float32}
    assert tokenizer.decode(tokenizer.encode(sounds(30))).dtype == torch.float32


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {  # what any package's folder may lack is tested with images
    "another type": (lambda path: change(path, model_type="whisper"), "type whisper is no codec .*encodec, dac, mimi"),
    "no type": (lambda path: change(path, model_type=None), "type None is no codec"),
    "a list": (lambda path: (path / CONFIG).write_text("[]"), "is no config of transformers"),
    "unbuildable": (lambda path: change(path, upsampling_ratios="steep"), "transformers builds no EncodecModel"),
    "stereo": (lambda path: change(path, audio_channels=2), "is of several channels"),
    "chunks": (lambda path: change(path, chunk_length_s=1.0, overlap=0.1), "codes chunks"),
    "no weights": (lambda path: (path / WEIGHTS).unlink(), f"holds no {WEIGHTS}"),
    "other shapes": (lambda path: change(path, hidden_size=12, codebook_dim=12), "is corrupt, or not of the model"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_told_in_one_line(tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN[case]
    spoil(folder(tmp_path))
    with pytest.raises(UserError, match=message) as raised:
        open_pretrained(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_wrong_sounds_and_tokens_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = open_pretrained(folder(tmp_path))
    with pytest.raises(UserError, match=r"\(batch, 1, samples\)"):
        tokenizer.encode(torch.zeros(1, 2, 80))
    with pytest.raises(UserError, match="codes 0 to 15, got 16 to 16"):
        tokenizer.decode(Tokens(torch.full((1, 2, 4), 16), (2, 1, 1)))
    with pytest.raises(UserError, match="2 latents are 9 to 16 samples"):
        tokenizer.decode(Tokens(torch.zeros(1, 2, 4, dtype=torch.long), (2, 1, 1)), 17)
    with pytest.raises(UserError, match="streaming needs"):
        tokenizer.streaming()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers"):
        open_pretrained(tmp_path)

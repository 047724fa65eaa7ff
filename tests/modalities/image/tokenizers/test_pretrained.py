"""DiffusersTokenizer against diffusers itself on tiny random autoencoders, and every way a folder can be wrong."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.image.tokenizers.pretrained import DiffusersTokenizer, open_pretrained
from mmgen.tokenizers.pretrained import CONFIG, library_of

WEIGHTS = DiffusersTokenizer.weights

SIZES = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
SIZES |= {"block_out_channels": [8, 8], "norm_num_groups": 4, "latent_channels": 3, "sample_size": 16}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "kl": ("AutoencoderKL", SIZES | {"scaling_factor": 0.5}),
    "kl_shift": ("AutoencoderKL", SIZES | {"scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False}),
    "kl_stats": ("AutoencoderKL", SIZES | {"latents_mean": [0.1, 0.2, -0.3], "latents_std": [1.0, 2.0, 3.0]}),
    "dc": (
        "AutoencoderDC",
        {
            "latent_channels": 4,
            "attention_head_dim": 2,
            "encoder_block_types": ["ResBlock", "EfficientViTBlock"],
            "decoder_block_types": ["ResBlock", "EfficientViTBlock"],
            "encoder_block_out_channels": [8, 8],
            "decoder_block_out_channels": [8, 8],
            "encoder_layers_per_block": [1, 1],
            "decoder_layers_per_block": [1, 1],
            "encoder_qkv_multiscales": [[], [3]],
            "decoder_qkv_multiscales": [[], [3]],
            "scaling_factor": 0.4,
        },
    ),
    "tiny": (
        "AutoencoderTiny",
        {
            "encoder_block_out_channels": [8, 8],
            "decoder_block_out_channels": [8, 8],
            "num_encoder_blocks": [1, 1],
            "num_decoder_blocks": [1, 1],
            "scaling_factor": 2.0,
        },
    ),
    "vq": ("VQModel", SIZES | {"num_vq_embeddings": 32, "vq_embed_dim": 5}),
}
CONTINUOUS = [name for name in MODELS if name != "vq"]


def peer(name: str, **changes: Any) -> Any:
    kind, options = MODELS[name]
    torch.manual_seed(0)
    return getattr(diffusers, kind)(**(options | changes)).eval()


def folder(path: Path, name: str = "kl", **changes: Any) -> Path:
    peer(name, **changes).save_pretrained(path)
    return path


def images(batch: int = 2, size: int = 16) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def change(path: Path, **values: Any) -> Path:
    config = json.loads((path / CONFIG).read_text()) | values
    (path / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return path


@torch.no_grad()
def latents_of(model: Any, x: Tensor) -> Tensor:
    encoded = model.encode(x, return_dict=False)[0]
    return encoded.mode() if isinstance(model, diffusers.AutoencoderKL) else encoded


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("patch", [1, 2])
@torch.no_grad()
def test_continuous_tokens_are_what_diffusers_pipelines_compute(tmp_path: Path, name: str, patch: int) -> None:
    model, x = peer(name), images()
    tokenizer = open_pretrained(folder(tmp_path, name), image_size=16, patch=patch)
    latents, config = latents_of(model, x), model.config
    mean = torch.tensor(config.get("latents_mean") or config.get("shift_factor") or 0.0).view(-1, 1, 1)
    std = torch.tensor(config.get("latents_std") or 1.0).view(-1, 1, 1)
    scaled = (latents - mean) / std * config.scaling_factor

    tokens = tokenizer.encode(x)
    side = latents.shape[-1] // patch
    assert tokenizer.spec == TokenSpec("continuous", latents.shape[1] * patch**2, (1, side, side), modality="image")
    assert tokenizer.sample_shape == (3, 16, 16)
    assert tokens.values.dtype == torch.float32
    expected = torch.nn.functional.unfold(scaled, patch, stride=patch).mT  # patches in raster order, channels outermost
    torch.testing.assert_close(tokens.values, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        tokenizer.decode(tokens), model.decode(latents).sample.clamp(-1, 1), rtol=1e-5, atol=1e-5
    )


@torch.no_grad()
def test_codes_are_those_of_vqmodel(tmp_path: Path) -> None:
    model, x = peer("vq"), images()
    tokenizer = open_pretrained(folder(tmp_path, "vq"))
    quantized, _, (_, _, indices) = model.quantize(model.encode(x).latents)
    tokens = tokenizer.encode(x)
    assert tokenizer.spec == TokenSpec("categorical", 32, (1, 8, 8), modality="image")
    assert len(tokens.values.unique()) > 3
    assert torch.equal(tokens.values, rearrange(indices, "(b n) -> b n", b=2))
    expected = model.decode(quantized, force_not_quantize=True).sample.clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(tokens), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_tokenizer_is_rebuilt_from_its_description(tmp_path: Path, name: str) -> None:
    """As an export does it: the description through a typed parser, the weights through a state dict."""
    from mmgen.store.rebuild import build_tokenizer

    opened, x = open_pretrained(folder(tmp_path, name), image_size=16), images()
    description = json.loads(json.dumps({"tokenizer": opened.describe()}))
    rebuilt = build_tokenizer(description, "config.yaml")
    rebuilt.load_state_dict(opened.state_dict())
    assert rebuilt.spec == opened.spec
    assert torch.equal(rebuilt.encode(x).values, opened.encode(x).values)
    assert torch.equal(rebuilt.decode(opened.encode(x)), opened.decode(opened.encode(x)))


def test_it_is_frozen_and_not_trained(tmp_path: Path) -> None:
    tokenizer = open_pretrained(folder(tmp_path)).train()
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters())
    assert not any(module.training for module in tokenizer.modules())
    with pytest.raises(UserError, match="used as they are"):
        tokenizer(images())
    with pytest.raises(UserError, match="names no last layer"):
        _ = tokenizer.last_layer


def test_half_precision_files_are_read_in_single(tmp_path: Path) -> None:
    peer("kl").half().save_pretrained(tmp_path)
    tokenizer = open_pretrained(tmp_path)
    assert tokenizer.encode(images()).values.dtype == torch.float32
    torch.testing.assert_close(
        tokenizer.encode(images()).values,
        open_pretrained(folder(tmp_path / "single")).encode(images()).values,
        rtol=0.05,
        atol=0.05,
    )


def test_layers_by_their_former_names_are_read(tmp_path: Path) -> None:
    """Files of 2022, among them Stable Diffusion's, call the attention's maps query, key, value and proj_attn."""
    folder(tmp_path)
    state = load_file(tmp_path / WEIGHTS)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    former = {}
    for key, value in state.items():
        for new, old in names.items():
            key = key.replace(f".{new}.", f".{old}.")
        former[key] = value
    assert former.keys() != state.keys()
    expected = open_pretrained(tmp_path).encode(images()).values
    save_file(former, tmp_path / WEIGHTS, metadata={"format": "pt"})
    assert torch.equal(open_pretrained(tmp_path).encode(images()).values, expected)


def test_the_image_size_is_the_configs_unless_chosen(tmp_path: Path) -> None:
    folder(tmp_path)
    assert open_pretrained(tmp_path).sample_shape == (3, 16, 16)
    assert open_pretrained(tmp_path, image_size=24).spec.grid == (1, 12, 12)
    change(tmp_path, sample_size=None)
    with pytest.raises(UserError, match=r"does not say the size .*--image_size SIZE$"):
        open_pretrained(tmp_path)


def test_which_folders_are_diffusers(tmp_path: Path) -> None:
    assert library_of(tmp_path) is None
    assert library_of(folder(tmp_path)) == "diffusers"
    (tmp_path / "config.yaml").touch()
    assert library_of(tmp_path) is None


def pickled(path: Path) -> None:
    (path / WEIGHTS).rename(path / "diffusion_pytorch_model.bin")


def truncated(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100])


def rewritten(edit: Any) -> Any:
    def apply(path: Path) -> None:
        state = load_file(path / WEIGHTS)
        edit(state)
        save_file(state, path / WEIGHTS, metadata={"format": "pt"})

    return apply


BROKEN = {
    "another class": (lambda path: change(path, _class_name="UNet2DModel"), "UNet2DModel is no autoencoder"),
    "no class": (lambda path: change(path, _class_name=None), "a model without _class_name is no autoencoder"),
    "no config": (lambda path: (path / CONFIG).unlink(), r"config.json cannot be read \(.*No such file"),
    "no JSON": (lambda path: (path / CONFIG).write_text("{"), "config.json is damaged or no JSON"),
    "a list": (lambda path: (path / CONFIG).write_text("[]"), "is no config of diffusers"),
    "unbuildable": (lambda path: change(path, block_out_channels=[7, 7]), "diffusers builds no AutoencoderKL"),
    "bad scale": (lambda path: change(path, scaling_factor="large"), r"config.json: "),
    "no weights": (lambda path: (path / WEIGHTS).unlink(), f"holds no {WEIGHTS}"),
    "pickled": (pickled, "pickled weights, which could run code"),
    "truncated": (truncated, "is corrupt, or not of the model"),
    "other shapes": (lambda path: change(path, block_out_channels=[16, 16]), "is corrupt, or not of the model"),
    "lacking": (rewritten(lambda state: state.pop("decoder.conv_out.bias")), "lacks decoder.conv_out.bias"),
    "extra": (rewritten(lambda state: state.update(extra=torch.zeros(1))), "has an unexpected extra"),
    "pipeline": (lambda path: (path / "model_index.json").write_text("{}"), "whole pipeline .*vae$"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_told_in_one_line(tmp_path: Path, case: str) -> None:
    spoil, message = BROKEN[case]
    spoil(folder(tmp_path))
    with pytest.raises(UserError, match=message) as raised:
        open_pretrained(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_wrong_sizes_and_tokens_are_named(tmp_path: Path) -> None:
    kl, vq = folder(tmp_path / "kl"), folder(tmp_path / "vq", "vq")
    with pytest.raises(UserError, match="image_size 10 is not divisible by 4 pixels"):
        open_pretrained(kl, image_size=10, patch=2)
    with pytest.raises(UserError, match="codes of a VQModel only 1 by 1"):
        open_pretrained(vq, patch=2)
    tokenizer = open_pretrained(kl)
    with pytest.raises(UserError, match=r"expects float samples of shape \(batch, 3, 16, 16\)"):
        tokenizer.encode(images(size=8))
    with pytest.raises(UserError, match=r"tokens of shape \(batch, 64, 3\), got \(1, 64, 4\)"):
        tokenizer.decode(Tokens(torch.zeros(1, 64, 4), (1, 8, 8)))
    with pytest.raises(UserError, match="codes 0 to 31, got 32 to 32"):
        open_pretrained(vq).decode(Tokens(torch.full((1, 64), 32), (1, 8, 8)))
    assert isinstance(tokenizer, DiffusersTokenizer)

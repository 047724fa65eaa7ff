"""VQGANTokenizer against diffusers' VQModel: the same layers under the same names, and the same numbers."""

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.modalities.image.tokenizers.vqgan import VQGANTokenizer
from mmgen.tokenizers.quantizers import BSQ, VQ

TINY: dict[str, Any] = {"image_size": 16, "width": 8, "multipliers": (1, 2, 2), "blocks": 1, "attention": (4, 8)}
TINY |= {"latent_channels": 6, "groups": 4}


def images(batch: int = 2, size: int = 16) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def vq_model(widths: tuple[int, ...], attends: list[bool], **options: Any) -> diffusers.VQModel:
    torch.manual_seed(0)
    return diffusers.VQModel(
        block_out_channels=widths,
        down_block_types=["AttnDownEncoderBlock2D" if each else "DownEncoderBlock2D" for each in attends],
        up_block_types=["AttnUpDecoderBlock2D" if each else "UpDecoderBlock2D" for each in reversed(attends)],
        **options,
    ).eval()


def shapes(module: torch.nn.Module, without: str) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items() if not name.startswith(without)}


def test_the_defaults_are_the_published_model() -> None:
    """As VQModel with the configuration of vqgan_imagenet_f16_16384."""
    with torch.device("meta"):
        tokenizer = VQGANTokenizer(VQ(16384, 256))
        options = {"layers_per_block": 2, "latent_channels": 256, "num_vq_embeddings": 16384}
        peer = vq_model((128, 128, 256, 256, 512), [False] * 4 + [True], **options)
    assert tokenizer.spec == TokenSpec("categorical", 16384, (1, 16, 16), modality="image")
    assert shapes(tokenizer, "quantizer.") == shapes(peer, "quantize.")


@torch.no_grad()
def test_the_weights_of_vqmodel_give_its_codes_and_pixels() -> None:
    options = {"latent_channels": 6, "norm_num_groups": 4, "num_vq_embeddings": 32, "vq_embed_dim": 5}
    peer = vq_model((8, 16, 16), [False, True, True], layers_per_block=1, **options)
    tokenizer = VQGANTokenizer(VQ(32, 5), **TINY).eval()
    state = {name: value for name, value in peer.state_dict().items() if not name.startswith("quantize.")}
    missing = tokenizer.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith("quantizer.") for name in missing.missing_keys)
    tokenizer.quantizer.codebook.copy_(peer.quantize.embedding.weight)
    tokenizer.quantizer.batches += 1

    x = images()
    quantized, _, (_, _, indices) = peer.quantize(peer.encode(x).latents)
    tokens = tokenizer.encode(x)
    assert len(tokens.values.unique()) > 1
    assert torch.equal(tokens.values.flatten(), indices)
    expected = peer.decode(quantized, force_not_quantize=True).sample
    torch.testing.assert_close(tokenizer(x).x, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokenizer.decode(tokens), expected.clamp(-1, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 18}, "image_size 18 is not divisible by the downsampling 4"),
        ({"groups": 3}, r"cannot divide widths of \[8, 16, 16\] into 3 groups"),
        ({"attention": (5,)}, r"attention at height 5 is not among the heights of the grids, \[16, 8, 4\]"),
        ({"multipliers": ()}, "needs multipliers"),
        ({"blocks": 0}, "at least 1"),
    ],
)
def test_wrong_options_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        VQGANTokenizer(BSQ(6), **(TINY | changes))

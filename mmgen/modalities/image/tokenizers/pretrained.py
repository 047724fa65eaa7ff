"""Autoencoders of diffusers as tokenizers, straight from the folder that `save_pretrained` wrote."""

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers.pretrained import CONFIG, PretrainedTokenizer

KINDS = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "VQModel")


class DiffusersTokenizer(PretrainedTokenizer):
    """A frozen autoencoder of diffusers: continuous tokens, or for VQModel the numbers of its codes.

    Continuous tokens are (latent - shift) x scale as diffusers' pipelines compute it: shift_factor and scaling_factor
    of the config, or latents_mean and latents_std where it has them. AutoencoderKL gives the mean of its posterior.

    Args:
        architecture: the content of the model's config.json; `_class_name` is AutoencoderKL, AutoencoderDC,
            AutoencoderTiny or VQModel.
        image_size: height and width in pixels, divisible by the model's downsampling times `patch`.
        patch: latents a token in each direction, in the order (channel, row, column): 2 makes tokens of 16 numbers from
            4 latent channels (Peebles and Xie 2023).

    Raises:
        UserError: another class, sizes that do not divide, or an architecture that diffusers does not build.
    """

    library, noun, own = "diffusers", "autoencoder", "VQGANTokenizer"
    weights = "diffusion_pytorch_model.safetensors"

    def __init__(self, architecture: dict[str, Any], image_size: int, patch: int = 1) -> None:
        super().__init__()
        name = architecture.get("_class_name")
        if name not in KINDS:
            kinds = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
            raise UserError(f"{name or 'a model without _class_name'} is no autoencoder that mmgen reads: {kinds}")
        self.architecture, self.patch, self.codes = architecture, patch, name == "VQModel"
        plain = architecture | ({"lookup_from_codebook": True} if self.codes else {})
        self.model = self.build(name, lambda diffusers: getattr(diffusers, name).from_config(plain))
        config = self.model.config
        widths = config.get("encoder_block_out_channels") or config["block_out_channels"]
        pixels = 2 ** (len(widths) - 1)
        if patch < 1 or (patch > 1 and self.codes):
            raise UserError(f"patch {patch}: latents are packed 1 by 1 or more, codes of a VQModel only 1 by 1")
        if image_size < 1 or image_size % (pixels * patch):
            raise UserError(f"image_size {image_size} is not divisible by {pixels * patch} pixels a token of {name}")
        if config["in_channels"] != config.get("out_channels", config["in_channels"]):
            raise UserError(
                f"a {name} from {config['in_channels']} to {config['out_channels']} channels reconstructs nothing"
            )
        self.sample_shape = (config["in_channels"], image_size, image_size)
        grid = (1, image_size // pixels // patch, image_size // pixels // patch)
        channels = config["latent_channels"]
        size = config["num_vq_embeddings"] if self.codes else channels * patch**2
        self.spec = TokenSpec("categorical" if self.codes else "continuous", size, grid, modality="image")
        self.shift: Tensor
        self.scale: Tensor
        shift = torch.as_tensor(config.get("latents_mean") or config.get("shift_factor") or 0.0)
        scale = (config.get("scaling_factor") or 1.0) / torch.as_tensor(config.get("latents_std") or 1.0)
        self.register_buffer("shift", shift.float().expand(channels).clone())  # kept with the weights: tokens follow
        self.register_buffer("scale", scale.float().expand(channels).clone())  # from both
        self.train(False).requires_grad_(False)

    def options(self) -> dict[str, Any]:
        return {"image_size": self.sample_shape[1], "patch": self.patch}

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tokens:
        encoded = self.model.encode(self.check_samples(x).to(self.model.dtype))
        if self.codes:
            indices = self.model.quantize(encoded.latents)[2][2]
            return Tokens(indices.view(len(x), -1), self.spec.grid)
        if hasattr(encoded, "latent_dist"):
            latents = encoded.latent_dist.mode()
        else:
            latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent
        latents = (latents.float() - self.shift[:, None, None]) * self.scale[:, None, None]
        packed = rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=self.patch, q=self.patch)
        return Tokens(packed, self.spec.grid)

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Tensor:
        values, side = self.check_tokens(tokens), self.spec.grid[1]
        if self.codes:
            self.check_codes(values)
            shape = (len(values), side, side, self.model.quantize.vq_embed_dim)
            decoded = self.model.decode(values.flatten(), force_not_quantize=True, shape=shape)
        else:
            latents = rearrange(
                values.float(), "b (h w) (c p q) -> b c (h p) (w q)", h=side, p=self.patch, q=self.patch
            )
            latents = latents / self.scale[:, None, None] + self.shift[:, None, None]
            decoded = self.model.decode(latents.to(self.model.dtype))
        return decoded.sample.clamp(-1, 1)


def open_pretrained(path: str | Path, image_size: int | None = None, patch: int = 1) -> DiffusersTokenizer:
    """The autoencoder in a folder that diffusers' `save_pretrained` wrote; other arguments as for `DiffusersTokenizer`,
    the size by default `sample_size` of its config.

    Raises:
        UserError: a file is missing, corrupt, pickled or of another model, or there is no image size.
    """
    path = Path(path)
    if (path / "model_index.json").exists():
        raise UserError(f"{path} is a whole pipeline of diffusers; name the folder of its autoencoder, {path / 'vae'}")
    plain = DiffusersTokenizer.read_architecture(path)
    # Notes such as _name_or_path say nothing about the model, and would be taken into exports.
    architecture = {key: value for key, value in plain.items() if key == "_class_name" or not key.startswith("_")}
    size = architecture.get("sample_size") if image_size is None else image_size
    if isinstance(size, list) and len(set(size)) == 1:
        size = size[0]
    if not isinstance(size, int):
        raise UserError(
            f"{path / CONFIG} does not say the size of images (sample_size): choose it with"
            f" mmgen export {path} --image_size SIZE"
        )
    return DiffusersTokenizer.in_folder(path, architecture, image_size=size, patch=patch)

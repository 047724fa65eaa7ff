"""Autoencoders of diffusers as tokenizers, straight from the folder that `save_pretrained` wrote."""

import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers.base import Reconstruction, Tokenizer

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
KINDS = ("AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "VQModel")


class DiffusersTokenizer(Tokenizer):
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

    def __init__(self, architecture: dict[str, Any], image_size: int, patch: int = 1) -> None:
        super().__init__()
        name = architecture.get("_class_name")
        if name not in KINDS:
            raise UserError(f"{name or 'a model without _class_name'} is no autoencoder that mmgen reads: {_one_of()}")
        self.architecture, self.patch, self.codes = architecture, patch, name == "VQModel"
        self.model = _build(architecture | ({"lookup_from_codebook": True} if self.codes else {}))

        config = self.model.config
        widths = config[
            "encoder_block_out_channels" if "encoder_block_out_channels" in config else "block_out_channels"
        ]
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
        if self.codes:
            self.spec = TokenSpec("categorical", config["num_vq_embeddings"], grid, modality="image")
        else:
            self.spec = TokenSpec("continuous", channels * patch**2, grid, modality="image")

        self.shift: Tensor
        self.scale: Tensor
        shift = torch.as_tensor(config.get("latents_mean") or config.get("shift_factor") or 0.0)
        scale = (config.get("scaling_factor") or 1.0) / torch.as_tensor(config.get("latents_std") or 1.0)
        self.register_buffer("shift", shift.float().expand(channels).clone())  # kept with the weights: tokens follow
        self.register_buffer("scale", scale.float().expand(channels).clone())  # from both
        self.train(False).requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """What builds this tokenizer, but for its weights, as `tokenizer` in a config.yaml."""
        init_args = {"architecture": self.architecture, "image_size": self.sample_shape[1], "patch": self.patch}
        return {"class_path": "mmgen.modalities.image.tokenizers.pretrained.DiffusersTokenizer", "init_args": init_args}

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
            if values.min() < 0 or values.max() >= self.spec.size:
                found = f"{values.min().item()} to {values.max().item()}"
                raise UserError(f"DiffusersTokenizer has codes 0 to {self.spec.size - 1}, got {found}")
            shape = (len(values), side, side, self.model.quantize.vq_embed_dim)
            decoded = self.model.decode(values.flatten(), force_not_quantize=True, shape=shape)
        else:
            latents = rearrange(
                values.float(), "b (h w) (c p q) -> b c (h p) (w q)", h=side, p=self.patch, q=self.patch
            )
            latents = latents / self.scale[:, None, None] + self.shift[:, None, None]
            decoded = self.model.decode(latents.to(self.model.dtype))
        return decoded.sample.clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        """Raises UserError: it is not trained."""
        raise UserError("an autoencoder of diffusers is used as it is; to train one, take VQGANTokenizer")

    def train(self, mode: bool = True) -> "DiffusersTokenizer":
        """Stays in evaluation mode."""
        return super().train(False)


def is_pretrained(path: str | Path) -> bool:
    """Whether a folder is diffusers', of an autoencoder or anything else; not a run or export of mmgen, nor a model of
    transformers.
    """
    path = Path(path)
    if (path / "config.yaml").exists():
        return False
    if (path / "model_index.json").is_file():
        return True
    try:
        plain = json.loads((path / CONFIG).read_text())
    except OSError:
        return False
    except ValueError:  # damaged: `open_pretrained` says so
        return True
    return not (isinstance(plain, dict) and "model_type" in plain)


def open_pretrained(path: str | Path, image_size: int | None = None, patch: int = 1) -> DiffusersTokenizer:
    """The autoencoder in a folder that diffusers' `save_pretrained` wrote.

    Args:
        path: holds config.json and diffusion_pytorch_model.safetensors.
        image_size: height and width in pixels; by default `sample_size` of its config.
        patch: latents a token in each direction.

    Raises:
        UserError: a file is missing or corrupt, pickled weights alone, another class, weights of another shape than the
            config says, or no image size.
    """
    path = Path(path)
    architecture = _architecture(path)
    size = architecture.get("sample_size") if image_size is None else image_size
    if isinstance(size, list) and len(set(size)) == 1:
        size = size[0]
    if not isinstance(size, int):
        raise UserError(
            f"{path / CONFIG} does not say the size of images (sample_size): choose it with"
            f" mmgen export {path} --image_size SIZE"
        )
    try:
        tokenizer = DiffusersTokenizer(architecture, size, patch)
    except (UserError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path / CONFIG}: {_line(error)}") from None
    tokenizer.model.load_state_dict(_weights(path, architecture["_class_name"]))
    return tokenizer


def _one_of() -> str:
    return f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"


def _build(architecture: dict[str, Any]) -> Any:
    import diffusers  # slow to import, and needed for such a tokenizer only

    try:
        return getattr(diffusers, architecture["_class_name"]).from_config(architecture)
    except Exception as error:  # a config from anywhere: what its values break is open-ended
        raise UserError(f"diffusers builds no {architecture['_class_name']} of it ({_line(error)})") from None


def _architecture(path: Path) -> dict[str, Any]:
    if (path / "model_index.json").exists():
        raise UserError(f"{path} is a whole pipeline of diffusers; name the folder of its autoencoder, {path / 'vae'}")
    try:
        plain = json.loads((path / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path / CONFIG} cannot be read ({_line(error)})") from None
    if not isinstance(plain, dict):
        raise UserError(f"{path / CONFIG} is no config of diffusers")
    # Notes such as _name_or_path say nothing about the model, and would be taken into exports.
    return {key: value for key, value in plain.items() if key == "_class_name" or not key.startswith("_")}


def _weights(path: Path, name: str) -> dict[str, Tensor]:
    """By diffusers' own loader, since that knows the names that layers had in earlier versions."""
    import diffusers

    file = path / WEIGHTS
    if not file.is_file():
        if any(path.glob("*.bin")) or any(path.glob("*.ckpt")):
            raise UserError(
                f"{path} holds pickled weights, which could run code and are not read: save them with"
                f" diffusers' save_pretrained, which writes {WEIGHTS}"
            )
        raise UserError(f"{path} holds no {WEIGHTS}; copy the whole folder of the autoencoder")
    try:
        model, about = getattr(diffusers, name).from_pretrained(
            path, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # damaged files, and shapes that do not fit: open-ended
        raise UserError(f"{file} is corrupt, or not of the model in {CONFIG} ({_line(error)})") from None
    for key, text in (("missing_keys", "lacks"), ("unexpected_keys", "has an unexpected")):
        if about.get(key):
            raise UserError(f"{file} {text} {min(about[key])}: {CONFIG} beside it describes another model")
    return model.state_dict()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

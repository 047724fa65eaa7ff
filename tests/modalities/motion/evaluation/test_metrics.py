"""Figures of motions know themselves, and order what is known to be worse."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.modalities.motion.evaluation.metrics import diversity, foot_skate, jerk, multimodality
from mmgen.modalities.motion.evaluation.text import retrieval
from mmgen.modalities.motion.features import canonical
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from tests.modalities.motion.gait import toes_stand, walk


def normal(*shape: int, seed: int = 0) -> Tensor:
    return Draws(seed, torch.arange(shape[0])).normal("x", *shape[1:])


def sliding(joints: Tensor, speed: float, fps: float = 20.0) -> Tensor:
    """The same poses, moved sideways by so many metres a second."""
    way = torch.arange(len(joints))[:, None, None] * joints.new_tensor([speed / fps, 0, 0])
    return joints + way


def published_skating(joints: Tensor, fps: float) -> float:
    """As the paper's code has it, for 22 joints."""
    toes = joints[:, [10, 11]].permute(1, 2, 0).numpy()
    speed = np.linalg.norm(np.diff(toes[:, [0, 2]], axis=-1), axis=1) * fps
    mean = uniform_filter1d(speed, axis=-1, size=5, mode="constant", origin=0)
    contact = (toes[:, 1, :-1] < 0.05) & (toes[:, 1, 1:] < 0.05)
    return float((contact & (speed > 0.5) & (mean > 0.5)).any(0).mean())


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT], ids=lambda skeleton: skeleton.name)
def test_feet_that_stand_do_not_skate_and_a_body_that_is_pushed_does(skeleton: Skeleton) -> None:
    joints = canonical(walk(skeleton, 60))
    for foot, late in ((skeleton.feet[1], 0.0), (skeleton.feet[3], 0.5)):
        joints[~toes_stand(late, 60), foot, 1] += 0.05  # the walk shuffles
    walked, pushed = foot_skate(joints, skeleton, 20.0), foot_skate(sliding(joints, 2.0), skeleton, 20.0)
    assert walked is not None and pushed is not None
    assert walked < 0.1 < 0.6 < pushed
    still = joints[:1].expand(30, -1, -1)
    assert foot_skate(still, skeleton, 20.0) == 0
    assert foot_skate(sliding(still, 2.0), skeleton, 20.0) == 1
    assert foot_skate(sliding(still, 0.45), skeleton, 20.0) == 0
    above = sliding(still, 2.0) + torch.tensor([0, 0.1, 0])  # it flies
    assert foot_skate(above, skeleton, 20.0) == 0
    assert foot_skate(joints[:1], skeleton, 20.0) is None


@pytest.mark.parametrize("speed", [0.0, 0.3, 0.6, 1.0])
def test_the_foot_skating_ratio_is_the_published_one(speed: float) -> None:
    joints = sliding(canonical(walk(HUMANML3D, 80, turn=0.4)), speed) + 0.004 * normal(80, 22, 3)
    result = foot_skate(joints, HUMANML3D, 20.0)
    assert result == pytest.approx(published_skating(joints, 20.0))


def test_jerk_is_the_third_derivative_in_seconds() -> None:
    time = torch.arange(12, dtype=torch.float64) / 20
    axes = torch.tensor([0.6, 0.0, 0.8]).double()
    cubic = (time**3)[:, None, None] * axes.expand(22, 3)
    assert jerk(cubic, 20.0) == pytest.approx(6)
    assert jerk((time**2)[:, None, None] * axes.expand(22, 3), 20.0) == pytest.approx(0, abs=1e-6)
    assert jerk(cubic[:3], 20.0) is None
    joints = walk(HUMANML3D, 60)
    calm, rough, rougher = (jerk(joints + strength * normal(60, 22, 3), 20.0) for strength in (0, 0.005, 0.02))
    assert calm is not None and rough is not None and rougher is not None
    assert calm < rough < rougher


def test_diversity_is_of_all_and_multimodality_within_a_class() -> None:
    features = torch.tensor([[0.0, 0], [0, 0], [3, 4], [3, 4]])
    assert diversity(features[:2]) == 0
    assert diversity(features) == pytest.approx(4 * 5 / 6)
    assert multimodality(features, torch.tensor([0, 0, 1, 1])) == 0
    assert multimodality(features, torch.tensor([0, 1, 0, 1])) == 5
    assert multimodality(features, torch.tensor([0, 0, 1, 2])) == 0  # classes of one tell nothing
    assert multimodality(features, torch.tensor([-1, -1, 0, 1])) is None
    assert diversity(features[:1]) is None


def test_texts_find_their_own_motions() -> None:
    vectors, captions = normal(70, 8), [str(number) for number in range(70)]
    exact = retrieval(vectors, vectors, captions)
    assert exact == {"r_precision_1": 1, "r_precision_2": 1, "r_precision_3": 1, "matching_score": 0}
    mixed = retrieval(vectors, vectors + 0.5 * normal(70, 8, seed=1), captions)
    assert 0.1 < mixed["r_precision_1"] < mixed["r_precision_3"] < 1
    assert mixed["matching_score"] > 0
    moved = torch.cat([vectors[:64], vectors[64:] + 100])  # the last six fill no pool
    assert retrieval(vectors, moved, captions)["r_precision_1"] == 1


def test_nothing_is_found_where_all_motions_are_one_and_by_chance_among_others() -> None:
    captions = [str(number) for number in range(3200)]
    assert retrieval(normal(3200, 4), torch.zeros(3200, 4), captions)["r_precision_3"] == 0
    result = retrieval(normal(3200, 4), normal(3200, 4, seed=1), captions)
    for top in (1, 2, 3):
        chance = top / 32
        assert result[f"r_precision_{top}"] == pytest.approx(chance, abs=5 * math.sqrt(chance / 3200))


def test_motions_of_the_same_text_do_not_compete() -> None:
    texts = torch.tensor([[0.0], [0.0], [5.0]])
    motions = torch.tensor([[0.2], [0.1], [5.0]])
    assert retrieval(texts, motions, ["go", "go", "stay"])["r_precision_1"] == 1
    assert retrieval(texts, motions, ["go", "leave", "stay"])["r_precision_1"] == pytest.approx(2 / 3)

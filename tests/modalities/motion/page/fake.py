"""Made-up results for the page of motions: a run that nobody trained."""

import torch
from torch import Tensor

from mmgen.core.masks import get_mask
from mmgen.modalities.motion.page.story import Between, MotionCoder, MotionMode, MotionStory
from mmgen.modalities.motion.skeleton import HUMANML3D
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.tiles import pixels, webp_bytes
from tests.modalities.motion.gait import walk

FPS = 20.0
LABELS = ["walk", "getup_facedown"]
ACCURACY = "label_accuracy_motion_cnn"
FRAMES = 12


def motion(frames: int = FRAMES, turn: float = 0.0) -> Tensor:
    """(T, 22, 3) in metres."""
    return walk(HUMANML3D, frames, FPS, 1.0, turn)


def mode(name: str, accuracy: float, frames: int) -> MotionMode:
    return MotionMode(
        name,
        [motion(frames, 0.1), motion(frames + 2, 0.2)],
        {ACCURACY: accuracy, "foot_skate": accuracy / 3, "forward_passes": 17.0},
        60,
        17,
        [f"mmgen sample runs/demo-motion/generator --mode {name} --class {label}" for label in LABELS],
        f"mmgen evaluate runs/demo-motion/generator --mode {name} --num 60",
    )


def coder(name: str, error: float) -> MotionCoder:
    measured = {"mpjpe_mm": error, "latency_ms": 200.0}
    return MotionCoder(
        name, [motion(8, 0.3)], measured, 30, "5 tokens a second, each of 8 codes out of 512",
        f"mmgen evaluate runs/demo-motion/{name.split()[0]}",
    )  # fmt: skip


def between() -> Between:
    return Between(
        of="held-out motions",
        labels=["walk"],
        real=[motion()],
        straight=[motion(turn=0.1)],
        filled={"masked": [motion(turn=0.2)]},
        gaps=[(4, 8)],
        straight_mm=30.4,
        filled_mm={"masked": 52.6},
        samples=12,
        seconds=0.2,
    )


def story() -> MotionStory:
    """Everything at once."""
    card = webp_bytes(pixels(torch.zeros(1, 32, 32)))
    masks = [
        MaskPicture("causal", get_mask("causal").sentence, card, (32, 32), ["ar"]),
        MaskPicture("bidirectional", get_mask("bidirectional").sentence, card, (32, 32), []),
    ]
    points = [(step, 3 + 100 / step) for step in (100.0, 200.0, 300.0)]
    return MotionStory(
        fps=FPS,
        labels=LABELS,
        recorded=[motion(), motion(10)],
        held_labels=["walk"],
        held_out=[motion(8)],
        coders=[coder("residual codes", 76.2), coder("continuous tokens", 29.1)],
        modes=[mode("ar", 0.95, 9), mode("masked", 0.9, 16), mode("block", 0.875, 11)],
        real={ACCURACY: 0.465, "foot_skate": 0.244},
        betweens=[between()],
        curves=[Curve("Generator", "loss a token", {}, {"ar": points, "masked": points})],
        masks=masks,
        facts={"Machine": "2 cores of <a machine> & more"},
        total_seconds=511.0,
        commands=["mmgen fit --config tokenizers/mocap_rvq/config.yaml"],
    )

"""Made-up results for the page of clips: a run that nobody trained."""

import torch
from torch import Tensor

from mmgen.core.masks import get_mask
from mmgen.modalities.video.page.story import ClipReconstruction, Prediction, Rollout, VideoMode, VideoStory
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.tiles import pixels, webp_bytes

SIDE, FRAMES, CONTEXT, LONG = 32, 8, 3, 24
USED = {"block": "skip_causal", "masked": "bidirectional"}


def clips(count: int, frames: int = FRAMES) -> Tensor:
    """(count, 1, frames, 32, 32) in [-1, 1]: a blob that moves, each clip's with a speed of its own."""
    axis, time = torch.arange(SIDE), torch.arange(frames)
    place = 5 + (time * (1 + torch.arange(count)[:, None])) % (SIDE - 10)
    across = (axis - place[..., None]).abs()
    down = (axis - 12).abs()
    return (1 - 0.3 * (across[:, :, None, :] + down[:, None])).clamp(-1, 1)[:, None]


def mode(name: str, better: float) -> VideoMode:
    options = f"--mode {name} --context held_out --context_frames {CONTEXT}"
    psnr = [20.5 + better - 0.5 * frame for frame in range(FRAMES - CONTEXT)]
    gain = [1.25 + better + 0.5 * frame for frame in range(FRAMES - CONTEXT)]
    measured = {"psnr_db": sum(psnr) / len(psnr), "next_frame_gain_db": sum(gain) / len(gain), "ssim": 0.8125}
    prediction = Prediction(
        clips(4), psnr, gain, measured, 60, 17, f"mmgen sample runs/demo-video/generator {options}",
        f"mmgen evaluate runs/demo-video/generator {options}",
    )  # fmt: skip
    rollout = Rollout(
        clips(3, LONG), [10.0, 11.5, 13.0, 15.5 + better], [10.0, 10.1, 9.9, 10.2], 5, "drift_frames_pixels",
        5.5 + better, 24, f"mmgen sample runs/demo-video/generator {options} --frames {LONG}",
        f"mmgen evaluate runs/demo-video/generator {options} --frames {LONG}",
    )  # fmt: skip
    drawn = f"mmgen sample runs/demo-video/generator --mode {name} --class '0 1,2 7'"
    return VideoMode(name, 4, prediction, rollout, clips(4), drawn)


def story() -> VideoStory:
    """Everything at once."""
    frame = pixels(clips(1)[0, :, 0])
    cards = [
        MaskPicture(
            name, get_mask(name).sentence, webp_bytes(frame), (SIDE, SIDE), [m for m in USED if USED[m] == name]
        )
        for name in [*USED.values(), "block_causal"]
    ]
    points = [(step, 3 + 100 / step) for step in (100, 200, 300)]
    return VideoStory(
        fps=10.0,
        trained=FRAMES,
        context=CONTEXT,
        truth=clips(4),
        reconstruction=ClipReconstruction(
            clips(4), 0.9 * clips(4),
            {"psnr_db": 25.43, "ssim": 0.931, "bits_per_frame": 640.0, "latency_ms": 6.25, "streaming_error": 1e-6},
            400, "8 × 8 × 8 tokens of 10 bits", 1, "mmgen evaluate runs/demo-video/tokenizer",
        ),
        modes=[mode("block", 0.5), mode("masked", 0.0)],
        chosen=["0 1", "2 7", "3 3", "4 9"],
        curves=[Curve("Generator", "loss in nats a token", {}, {"block": points, "masked": points})],
        masks=cards,
        facts={"Machine": "2 cores of <a machine> & more"},
        total_seconds=511.0,
        commands=["mmgen fit --config tokenizers/moving_digits_bsq/config.yaml"],
    )  # fmt: skip

"""Made-up results for the page: a run that nobody trained."""

import torch
from torch import Tensor

from mmgen.core.masks import get_mask
from mmgen.modalities.image.page.story import Completion, Film, ImageStory, Mode, Reconstruction
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.tiles import pixels, webp_bytes
from mmgen.store.results import metric_name

SIDE, CELLS = 28, 7
NAMES = [str(digit) for digit in range(10)]
USED = {"ar": "causal", "masked": "bidirectional", "block": "skip_causal"}
EXTRACTOR = "digits_cnn"


def pictures(count: int) -> Tensor:
    """(count, 1, 28, 28) in [-1, 1], each a ring of its own size, so that no two classes look alike."""
    axis = torch.linspace(-1, 1, SIDE)
    radius = (axis[:, None] ** 2 + axis**2).sqrt()
    sizes = 0.25 + 0.06 * (torch.arange(count) % 10)
    return (1 - 8 * (radius[None] - sizes[:, None, None]).abs()).clamp(-1, 1)[:, None]


def order(mode: str, sample: int) -> Tensor:
    """(49,) the pass at which each token is committed."""
    index = torch.arange(CELLS * CELLS)
    if mode == "ar":
        return index + 1
    shuffled = torch.randperm(len(index), generator=torch.Generator().manual_seed(sample))
    if mode == "masked":
        return shuffled * 12 // len(index) + 1
    return 4 * (index // CELLS) + shuffled % 4 + 1


def film(mode: str, images: Tensor) -> Film:
    """The states of some images under `order`."""
    orders = torch.stack([order(mode, sample) for sample in range(len(images))])
    passes = list(range(int(orders.max()) + 1))
    committed = torch.stack([orders <= number for number in passes]).view(len(passes), len(images), 1, CELLS, CELLS)
    shown = committed.repeat_interleave(SIDE // CELLS, -2).repeat_interleave(SIDE // CELLS, -1)
    return Film(torch.where(shown, images, -1.0), committed, passes)


def mode(name: str, images: Tensor, filmed: int) -> Mode:
    made = film(name, images[:filmed])
    options = f"--mode {name} --num {len(images)} --cfg 3.0"
    return Mode(
        name=name,
        images=images,
        judged=torch.arange(len(images)) % 17 != 16,
        film=made,
        steps=made.passes[-1],
        forward_passes=made.passes[-1],
        seconds_per_sample=made.passes[-1] / 4000,
        command=f"mmgen sample runs/demo/generator {options} --out samples/{name}",
        measured={
            metric_name("class_accuracy", EXTRACTOR): 0.9 + made.passes[-1] / 1000,
            metric_name("fid", EXTRACTOR): 14.25 + made.passes[-1] / 10,
        },
        samples=500,
        measure_command=f"mmgen evaluate runs/demo/generator {options}",
    )


def completion(images: Tensor, digit: int, told: bool) -> Completion:
    kept = torch.zeros(1, CELLS, CELLS, dtype=torch.bool)
    kept[:, :4] = True
    commands = {
        name: f"mmgen sample runs/demo/generator --mode {name} --keep digit-{digit}.png --keep_region 0:4"
        for name in USED
    }
    filled = {name: images[[digit, digit + 10, digit + 20, digit + 30]] for name in USED}
    return Completion(str(digit), told, images[digit], images[digit], kept, filled, commands)


def curve() -> Curve:
    steps = torch.arange(10, 3000, 10)
    noise = torch.randn(3, len(steps), generator=torch.Generator().manual_seed(0))
    lines, points = {}, {}
    for number, name in enumerate(USED):
        values = 2.6 + 0.4 * number + 4 * torch.exp(-steps / 250) + 0.12 * noise[number]
        lines[name] = list(zip(steps.tolist(), values.tolist()))
        points[name] = [(step, 2.65 + 0.4 * number + 300 / step) for step in (1000, 2000, 2990)]
    return Curve("Generator", "loss in nats a token", lines, points)


def story(images: Tensor | None = None, filmed: int = 2) -> ImageStory:
    """Everything at once.

    Args:
        images: (40 or more, 1, 28, 28) where image i is of class i % 10; made up by default.
        filmed: how many of them are shown on their way.
    """
    shown = pictures(40) if images is None else images
    cards = [
        MaskPicture(
            name,
            get_mask(name).sentence,
            webp_bytes(pixels(shown[number])),
            (SIDE, SIDE),
            [m for m in USED if USED[m] == name],
        )
        for number, name in enumerate([*USED.values(), "block_causal"])
    ]
    tokenizer = Curve(
        "Tokenizer", "PSNR in dB", {}, {"held-out": [(250, 18.2), (500, 20.4), (750, 21.3), (1000, 21.6)]}
    )
    return ImageStory(
        class_names=NAMES,
        reconstruction=Reconstruction(
            shown[:20], (0.9 * shown[:20]).clamp(-1, 1), 21.63, 490.0, "7 × 7 tokens of 10 bits", 1000,
            "mmgen evaluate runs/demo/tokenizer",
        ),
        modes=[mode(name, shown, filmed) for name in USED],
        completions=[completion(shown, 3, True), completion(shown, 9, False)],
        curves=[curve(), tokenizer],
        masks=cards,
        judge=EXTRACTOR,
        judge_accuracy=0.985,
        facts={"Machine": "2 cores of <a machine> & more", "Generator": "1,051,402 parameters, 3,000 steps"},
        total_seconds=433.2,
        commands=["mmgen fit --config tokenizers/digits_bsq/config.yaml", "mmgen evaluate runs/demo/tokenizer"],
    )  # fmt: skip

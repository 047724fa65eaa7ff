"""What the demo of clips does."""

from dataclasses import dataclass, field
from typing import Any

from mmgen.apps.demo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class VideoSettings(Settings):
    """The defaults are the demo. So that it fits into the time, the tokenizer is trained for a quarter of its recipe's
    steps, and the generator on fewer clips.

    Args:
        kept: held-out clips that the tokenizer is measured on.
        context: frames of held-out clips that predictions begin with.
        shown: held-out clips whose predictions the page shows.
        times: the length of training that rollouts go on to.
        rollouts: that their drift is measured over.
        rolled: that the page shows.
        chosen: classes of the clips that are drawn from nothing; without effect where the generator knows none.
        drawn: how many of them.
        extractor: of clips, for distances between sets of them and for drift.
    """

    tokenizer: str = "tokenizers/moving_digits_kl/config.yaml"
    generator: str = "experiments/moving_digits_forcing/config.yaml"
    tokenizer_options: tuple[str, ...] = (
        "--trainer.max_steps=900",
        "--trainer.val_check_interval=300",
        "--data.source.held_out=100",
    )
    data_options: dict[str, Any] | None = field(default_factory=lambda: {"clips": 1200, "held_out": 100})
    timed_steps: int = 60
    samples: tuple[int, ...] = (100, 60, 40, 20)
    timed_samples: int = 8
    kept: int = 100
    context: int = 4
    shown: int = 6
    times: int = 4
    rollouts: int = 16
    rolled: int = 4
    chosen: tuple[str, ...] = ("0 1", "2 7", "3 3", "4 9", "5 6", "8 8")
    drawn: int = 6
    extractor: str = "frames_pixels"

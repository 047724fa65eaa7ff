"""What the demo of images does."""

from dataclasses import dataclass, field
from typing import Any

from mmgen.apps.demo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ImageSettings(Settings):
    """The defaults are the demo.

    Args:
        rows: of the grid of samples; a column is a class.
        completed: class of a held-out digit that is completed -> whether the model is told it.
        keep: what of it stays, as `mmgen sample --keep_region` takes it: rows from the top.
        completions: of each, in each mode.
    """

    tokenizer: str = "tokenizers/digits_bsq/config.yaml"
    generator: str = "experiments/digits_mixture/config.yaml"
    sampling: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"ar": {"cfg": 2.0}, "masked": {"cfg": 2.0}, "block": {"cfg": 2.0}}
    )
    samples: tuple[int, ...] = (500, 400, 300, 200, 100)
    timed_samples: int = 50
    rows: int = 8
    completed: dict[str, bool] = field(default_factory=lambda: {"3": True, "8": True, "9": False})
    keep: str = "0:4"
    completions: int = 4

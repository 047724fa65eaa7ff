"""What the demo of speech does."""

from dataclasses import dataclass, field
from typing import Any

from mmgen.apps.demo.pair import PairSettings
from mmgen.apps.demo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SpeechSettings(PairSettings):
    """The defaults are the demo: spoken digits as residual codes, whose generator speaks token after token, or all of
    it at once, and fills in gaps; and as continuous tokens, whose generator speaks block after block.

    Args:
        kept: held-out clips that tokenizers are measured on.
        shown: sentences that the page lets hear.
        edited: recordings in which a word is replaced.
        margin: seconds on each side of it that are made anew too.
    """

    tokenizer: str = "tokenizers/spoken_digits_mel/config.yaml"
    generator: str = "experiments/spoken_digits/config.yaml"
    data_options: dict[str, Any] | None = field(default_factory=dict)
    sampling: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "ar": {"temperature": 0.8},
            "masked": {"temperature": 0.8, "cfg": 2.0},
            "infill": {"temperature": 0.6},
            "block": {"cfg": 2.0},
        }
    )
    samples: tuple[int, ...] = (48, 32, 24, 16, 12, 8)
    timed_steps: int = 20
    timed_samples: int = 4
    second: Settings | None = field(
        default_factory=lambda: Settings(
            tokenizer="tokenizers/spoken_digits_latents/config.yaml",
            generator="experiments/spoken_digits_flow/config.yaml",
            data_options={},
            samples=(8,),
            timed_samples=4,
        )
    )
    kept: int = 24
    shown: int = 4
    edited: int = 2
    margin: float = 0.08

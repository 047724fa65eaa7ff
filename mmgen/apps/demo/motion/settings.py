"""What the demo of motions does."""

from dataclasses import dataclass, field
from typing import Any

from mmgen.apps.demo.pair import PairSettings
from mmgen.apps.demo.settings import Settings

TOKENIZER_OPTIONS = ("--trainer.max_steps=900", "--trainer.val_check_interval=300")
CLIPS = {"clips": 1500}


@dataclass(frozen=True, kw_only=True)
class MotionSettings(PairSettings):
    """The defaults are the demo: motions as residual codes, whose generator moves token after token, or all at once;
    and as continuous tokens, whose generator moves block after block. So that it fits into the time, tokenizers are
    trained for a part of their recipes' steps, and generators on fewer clips.

    Args:
        ending: modes whose motions end by themselves; the page shows those of the others as long as recorded ones.
        kept: held-out motions that the page shows beside what the tokenizers keep of them.
        known: motions of training whose gaps are filled, beside the held-out ones.
        filled: motions with a gap that the page shows, of each of these.
    """

    tokenizer: str = "tokenizers/mocap_rvq/config.yaml"
    generator: str = "experiments/mocap/config.yaml"
    tokenizer_options: tuple[str, ...] = TOKENIZER_OPTIONS
    data_options: dict[str, Any] | None = field(default_factory=CLIPS.copy)
    sampling: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"ar": {"temperature": 0.7}, "masked": {"temperature": 0.7}}
    )
    samples: tuple[int, ...] = (100, 60, 40)
    timed_steps: int = 40
    timed_samples: int = 16
    second: Settings | None = field(
        default_factory=lambda: Settings(
            tokenizer="tokenizers/mocap_kl/config.yaml",
            generator="experiments/mocap_flow/config.yaml",
            tokenizer_options=TOKENIZER_OPTIONS,
            data_options=CLIPS.copy(),
            samples=(40,),
            timed_steps=40,
            timed_samples=16,
        )
    )
    ending: tuple[str, ...] = ("ar",)
    kept: int = 4
    known: int = 30
    filled: int = 3

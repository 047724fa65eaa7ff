"""From what a demo measured to its page and its metrics.json: what is the same for all modalities."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mmgen.apps.demo.settings import Settings
from mmgen.core.tokens import TokenSpec
from mmgen.data.sources import Source
from mmgen.page.collect import curve
from mmgen.page.page import Page
from mmgen.page.story import Curve
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.results import commit, machine
from mmgen.store.store import Loaded, Saved


@dataclass(frozen=True, eq=False)
class Findings(ABC):
    """Everything that was found.

    Args:
        settings: what was done.
        folder: of the demo; holds `tokenizer/` and `generator/`.
        loaded: the generator.
        source: of the real data.
        commands: what was run, in order.
    """

    settings: Settings
    folder: Path
    loaded: Loaded
    source: Source
    commands: list[str]

    @abstractmethod
    def own_figures(self) -> dict[str, Any]:
        """What the modality measured, for metrics.json."""

    @abstractmethod
    def page(self, total_seconds: Callable[[], float]) -> Page:
        """The page. Draws what is still to be drawn, and asks how long all took when it has that."""

    def figures(self, total_seconds: float) -> dict[str, Any]:
        """The content of metrics.json."""
        return {
            "total_seconds": round(total_seconds, 1),
            "generator": {"steps": self.loaded.step, "parameters": parameters(self.loaded.generator)},
            **self.own_figures(),
            "machine": machine(),
            "commit": commit(),
        }

    def curves(self) -> list[Curve]:
        """The training of the generator and of the tokenizer."""
        names = list(self.loaded.paradigm.modes())
        generator = curve(
            self.folder / "generator", "Generator", "loss in nats a token",
            {name: f"train/{name}" for name in names}, {name: f"val/{name}" for name in names},
        )  # fmt: skip
        tokenizer = curve(self.folder / "tokenizer", "Tokenizer", "PSNR in dB", {}, {"held out": "val/psnr_db"})
        return [generator, tokenizer]

    def facts(self, samples: str) -> dict[str, str]:
        """The circumstances.

        Args:
            samples: what a sample of the data is, in the plural.
        """
        tokenizer = require_tokenizer(self.loaded)
        trained = Saved.read(self.folder / "tokenizer")
        train, held_out = (len(self.source.samples(split)) for split in ("train", "val"))
        return {
            "Data": f"{train:,} {samples} to train on, {held_out:,} held out",
            "Tokenizer": f"{parameters(tokenizer):,} parameters, {trained.step:,} steps; {in_words(self.loaded.spec)}",
            "Generator": f"{parameters(self.loaded.generator):,} parameters, {self.loaded.step:,} steps",
            "Machine": machine(),
            "Code": f"mmgen at commit {commit()}",
        }


def in_words(spec: TokenSpec) -> str:
    """`7 × 7 tokens of 10 bits`."""
    what = f"{spec.size} bits" if spec.kind == "bits" else f"{spec.size:,} codes"
    return f"{' × '.join(str(side) for side in spec.grid if side > 1)} tokens of {what}"


def parameters(module: nn.Module) -> int:
    """How many there are."""
    return sum(parameter.numel() for parameter in module.parameters())

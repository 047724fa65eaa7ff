"""From what a demo of two ways measured to its page: curves and facts, a set for each way."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmgen.apps.demo.findings import Findings, parameters
from mmgen.core.tokens import TokenSpec
from mmgen.page.collect import curve
from mmgen.page.story import Curve
from mmgen.sampling.samples import require_tokenizer
from mmgen.store.results import commit, machine
from mmgen.store.store import Loaded, Saved

KINDS = {"residual": "residual codes", "continuous": "continuous tokens"}


@dataclass(frozen=True, eq=False)
class LineFound:
    """What was found about a tokenizer and its generator.

    Args:
        prefix: of the names of their folders.
        loaded: the generator.
    """

    prefix: str
    loaded: Loaded

    @property
    def kind(self) -> str:
        """What its tokens are."""
        return KINDS.get(self.loaded.spec.kind, self.loaded.spec.kind)


@dataclass(frozen=True, eq=False)
class PairFindings(Findings):
    """Findings about several ways to tokens and back."""

    coder: ClassVar[str] = "Tokenizer"
    """What the page calls what makes the tokens."""

    made_from: ClassVar[str] = ""
    """What the data are, behind their number."""

    @property
    @abstractmethod
    def found(self) -> Sequence[LineFound]:
        """A way each."""

    def curves(self) -> list[Curve]:
        drawn = []
        for line in self.found:
            names = list(line.loaded.paradigm.modes())
            lines = {name: f"train/{name}" for name in names}
            points = {name: f"val/{name}" for name in names}
            title = f"Generator of {line.kind}"
            drawn.append(curve(self.folder / f"{line.prefix}generator", title, "loss a token", lines, points))
        for line in self.found:
            run, title = self.folder / f"{line.prefix}tokenizer", f"{self.coder} of {line.kind}"
            drawn.append(curve(run, title, "loss", {"training": "train/loss"}, {"held out": "val/loss"}))
        return drawn

    def facts(self, samples: str) -> dict[str, str]:
        train, held_out = (len(self.source.samples(split)) for split in ("train", "val"))
        told = {"Data": f"{train:,} {samples} to train on, {held_out:,} held out, {self.made_from}"}
        for line in self.found:
            tokenizer, steps = require_tokenizer(line.loaded), Saved.read(self.folder / f"{line.prefix}tokenizer").step
            told[f"{self.coder} of {line.kind}"] = (
                f"{parameters(tokenizer):,} parameters, {steps:,} steps; {in_words(tokenizer.spec)}"
            )
            told[f"Generator of {line.kind}"] = (
                f"{parameters(line.loaded.generator):,} parameters, {line.loaded.step:,} steps"
            )
        return told | {"Machine": machine(), "Code": f"mmgen at commit {commit()}"}


def in_words(spec: TokenSpec) -> str:
    """`50 tokens a second, each of 4 codes out of 256`."""
    what = {
        "residual": f"{spec.levels} codes out of {spec.size:,}",
        "continuous": f"{spec.size} numbers",
        "bits": f"{spec.size} bits",
    }.get(spec.kind, f"one code out of {spec.size:,}")
    return f"{spec.rate or 0:g} tokens a second, each of {what}"

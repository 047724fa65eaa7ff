"""What the two corruptions of discrete diffusion share: their interface, and passes over some rows of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout
from mmgen.core.mask import Mask
from mmgen.core.tokens import Grid, Tokens
from mmgen.model.embeddings.tokens import ContinuousEmbedding
from mmgen.model.generator import Generator
from mmgen.model.heads import ChoiceHead
from mmgen.paradigms.base import Corrupted, Paradigm, State
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.codes import Codes
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.paradigms.schedules import NoiseSchedule, TimeGridName, time_grid

LEAST_SHARE = 1e-5
"""Share of corrupted tokens at which training's times begin.

Weights grow like 1 / share, so the network does not see the very end; the bound pays for it with a constant, which at
this share is below 0.0003 nats for up to 4,096 choices.
"""


class DiscreteNoise(ABC):
    """A corruption of discrete tokens over time, its bound and its way back.

    Time runs from 0 (data) to 1 (noise), one time a sample. `alpha` is the probability that a token is left alone;
    alpha_0 = 1 and alpha_1 = 0 hold exactly, so that the bound has no prior term.

    Args:
        schedule: alpha over time.
        grid: the times of a sampler's steps.
    """

    tells_time: bool = False
    """Whether the network is told the time, as a noise level."""

    def __init__(self, schedule: NoiseSchedule, grid: TimeGridName = "uniform") -> None:
        time_grid(grid, 1)  # refuses an unknown one
        self.schedule, self.grid = schedule, grid
        self.first = schedule.time(LEAST_SHARE)

    def times(self, draws: Draws, early: bool) -> tuple[Tensor, Tensor]:
        """Times from `first` to 1 and the weights that make a mean over them the integral, each (B, 1) float64; not
        stratified over the batch, as MD4's are. With `early` more of them have little noise, where few samples have all
        the weight: the same mean with less variance.
        """
        uniform, span = draws.uniform("time", 1), 1 - self.first
        if early:
            return self.first + span * uniform**2, span * 2 * uniform
        return self.first + span * uniform, torch.full_like(uniform, span)

    def shares(self, steps: int) -> Tensor:
        """(steps + 1,) shares of corrupted tokens from 1 to 0, at the times of the sampler's grid."""
        return self.schedule.share(time_grid(self.grid, steps))

    @abstractmethod
    def layout(self, prefix: Layout, grid: Grid, device: torch.device) -> Layout:
        """The prefix and the corrupted tokens."""

    @abstractmethod
    def corrupt(self, tokens: Tokens, codes: Codes, layout: Layout, mask: Mask, draws: Draws, early: bool) -> Corrupted:
        """The training row. Its weights sum to 1 a row, in expectation and up to LEAST_SHARE; `early` as in `times`."""

    @abstractmethod
    def nats(self, head: ChoiceHead, features: Tensor, row: Corrupted) -> Tensor:
        """The bound's integrand (B, N) at each position, or (B, N, U) by code, before the row's weights."""

    @abstractmethod
    def remainder(self, head: ChoiceHead) -> float:
        """Nats per token that decoding without the network costs from time `first` on."""

    @abstractmethod
    def sample(
        self, denoiser: "Denoiser", canvas: Canvas, decoding: Decoding, steps: int, draws: Draws
    ) -> Iterator[State]:
        """States after the steps of the ancestral sampler; none where everything is known."""


class Denoiser:
    """The network during sampling, without a cache, for some rows of the batch at a time. `self_conditioning` maps an
    earlier prediction of a row; None for none.
    """

    def __init__(
        self,
        model: GuidedGenerator,
        layout: Layout,
        mask: Mask,
        paradigm: Paradigm,
        codes: Codes,
        self_conditioning: nn.Module | None,
    ) -> None:
        self.model, self.layout, self.mask, self.paradigm = model, layout, mask, paradigm
        self.codes, self.self_conditioning = codes, self_conditioning
        self.previous: Tensor | None = None  # (B, N, groups, choices) probabilities
        self.predicted: Tensor | None = None  # (B,) bool, rows that have them

    def predict(
        self,
        rows: Tensor,
        tokens: Tensor,
        unknown: Tensor,
        progress: Tensor,
        hidden: Tensor | None = None,
        levels: Tensor | None = None,
    ) -> Tensor:
        """Logits (halves b, N, groups, choices) in float64, unguided, unconditional rows last.

        Args:
            rows: (b,) int64, the rows that are wanted; all other arguments are those of the whole batch.
            tokens: (B, N) or (B, N, Q).
            unknown: (B, N) bool, or (B, N, U) by unit, what is to be recovered.
            progress: (B,) for guidance.
            hidden: as `unknown`, what the mask token stands for; None for none.
            levels: (B, N) noise levels.
        """
        whole = len(rows) == len(tokens)
        layout = self.layout if whole or self.layout.batch == 1 else self.layout.map(lambda field: field[rows])
        model = self.model if whole else self.model.rows(rows)

        def pick(x: Tensor | None) -> Tensor | None:
            return x if x is None or whole else x[rows]

        added = None
        if self.previous is not None and self.predicted is not None and self.self_conditioning is not None:
            known = self.predicted.view(-1, *[1] * (unknown.dim() - 1))
            before = expected_embedding(self.model.generator, self.previous[rows], (unknown & known)[rows])
            added = self.self_conditioning(before)
        features = model.features(
            tokens[rows], layout, self.mask, hidden=pick(hidden), outputs=tokens.shape[1], added=added,
            modulation=self.paradigm.modulation(model.generator, pick(levels)),
        )  # fmt: skip
        logits = model.head.predict(features).double()
        if self.self_conditioning is not None:
            probs = self.model.guided(logits, progress[rows]).softmax(-1).to(model.condition.vector.dtype)
            if self.previous is None or self.predicted is None:
                self.previous = probs.new_zeros(len(tokens), *probs.shape[1:])
                self.predicted = torch.zeros(len(tokens), dtype=torch.bool, device=rows.device)
            self.previous[rows], self.predicted[rows] = probs, True
        return logits


def expected_embedding(generator: Generator, probs: Tensor, unknown: Tensor | None) -> Tensor:
    """What self-conditioning feeds back: the mean embedding (B, N, dim), under probabilities (B, N, groups, choices),
    of what is unknown, (B, N) or by code (B, N, U); 0 where nothing is, all of it for None.
    """
    embedding = generator.embedding
    assert not isinstance(embedding, ContinuousEmbedding), "continuous tokens have no logits"
    if unknown is None:
        return embedding.expected(probs)
    if unknown.dim() == 3:
        probs, unknown = probs * unknown[..., None], unknown.any(-1)
    return torch.where(unknown[..., None], embedding.expected(probs), 0.0)

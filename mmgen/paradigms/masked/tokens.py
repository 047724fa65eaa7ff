"""Masked generation: all tokens at once, revealed in a few steps (MaskGIT, Chang et al. 2022; MaskGIL)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import pad
from mmgen.core.masks import MaskName
from mmgen.core.tokens import Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions
from mmgen.paradigms.codes import Unit, known_share, require_unit
from mmgen.paradigms.schedules import RevealScheduleName, ScheduleName


class Masked(Paradigm):
    """Predict what is hidden from what is visible; sample by committing the best predictions first. What a step reveals
    is independent given what was known before.

    Args:
        schedule: law of the hidden share in training: MaskGIT's `cosine`, MaskGIL's `arccos`, or `linear`, with which
            the loss is a bound on the negative log-likelihood in nats per token; the others are surrogates, its mean
            over hidden tokens.
        mask: who may see whom.
        steps: sampling steps where none are asked for.
        sampling_schedule: what stays hidden after each sampling step: that law of the hidden share, MaskGIL's
            `arccos_counts`, or the training schedule where None.
        unit: what is hidden and revealed together, `code` or `token`, see `Codes`.
    """

    mode = "masked"
    starts = False
    likelihood = "bound"

    def __init__(
        self,
        schedule: ScheduleName = "cosine",
        mask: MaskName = "bidirectional",
        steps: int = 12,
        sampling_schedule: RevealScheduleName | None = None,
        unit: Unit | None = None,
    ) -> None:
        super().__init__(mask)
        self.unit, self.measured = require_unit(unit), {"schedule": "linear"}
        self.schedule, self.steps = schedule, steps
        self.sampling_schedule: RevealScheduleName = sampling_schedule or schedule

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix and the tokens, a random share of them hidden; what is hidden predicts itself."""
        layout = row_layout(generator.prefix, tokens.grid, tokens.values.device)
        real = real_positions(tokens.values, tokens.lengths)
        one_block = torch.zeros_like(real[0], dtype=torch.int64)
        hidden, weights = self.codes(generator).hide(one_block, 1, real, self.schedule, draws)
        layout = pad(layout, tokens.lengths, generator.prefix_length)
        return Corrupted(tokens.values, hidden, layout, self.mask, tokens.values, weights)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Reveal several units a step; `keep` may fix any positions."""
        options.require_plain(self.mode)
        canvas = Canvas(generator, request)
        start = generator.prefix_length
        row = row_layout(generator.prefix, request.whole(generator), canvas.tokens.device)
        row = pad(row.slice(0, start + canvas.length), canvas.lengths, start)
        model = request.guided(generator, options.guidance)
        yield canvas.state(0, 0, 0)

        def predict(tokens: Tensor, hidden: Tensor) -> Tensor:
            return model(tokens, row, self.mask, known_share(hidden, canvas.real), hidden=hidden, outputs=canvas.length)

        states = self.codes(generator).unmask(
            predict, canvas.tokens, canvas.committed, options.decoding,
            self.sampling_schedule, options.steps or self.steps, request.draws, "masked",
        )  # fmt: skip
        for step, (canvas.tokens, canvas.committed) in enumerate(states, start=1):
            yield canvas.state(step, 0, model.forward_passes)

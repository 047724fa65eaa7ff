"""Discrete diffusion of the whole row: MD4 (Shi et al. 2024), and UDLM (Schiff et al. 2025) with random tokens."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import require, require_one_of
from mmgen.core.layout import pad
from mmgen.core.masks import MaskName
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.embeddings.waves import noise_level_for
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State
from mmgen.paradigms.canvas import Canvas
from mmgen.paradigms.codes import Unit, require_unit
from mmgen.paradigms.diffusion.absorbing import Absorbing
from mmgen.paradigms.diffusion.corruption import Denoiser, DiscreteNoise, expected_embedding
from mmgen.paradigms.diffusion.uniform import Uniform
from mmgen.paradigms.schedules import NoiseSchedule, NoiseScheduleName, TimeGridName

PROCESSES: dict[str, type[DiscreteNoise]] = {"absorbing": Absorbing, "uniform": Uniform}


class MaskedDiffusion(Paradigm):
    """Recover tokens that were corrupted independently of each other, at a random time in training and over many small
    steps in sampling. The sampler is ancestral: with enough steps it draws from the model's own law.

    The loss is a bound on the negative log-likelihood in nats per token, the same for every schedule up to its variance
    (Shi et al. 2024, section 4).

    Args:
        schedule: share of corrupted tokens over time. MD4's published runs have the linear one.
        exponent: of the polynomial schedule.
        corruption: `absorbing` hides tokens behind the mask token (MD4); `uniform` replaces them by random ones (UDLM),
            so that a token can be mended at every step, and tells the network the noise level.
        self_conditioning: show the network its last prediction: to every second sample in training, on average, and to
            all in sampling (Chen et al. 2023).
        mask: who may see whom.
        steps: sampling steps where none are asked for.
        sampling_grid: times of the sampling steps: `uniform`, or `cosine` as in MD4's published runs, with small steps
            where little is known.
        unit: what is hidden and revealed together, `code` or `token`, see `Codes`; uniform corruption replaces each
            code on its own.
    """

    mode = "diffusion"
    starts = False
    likelihood = "bound"

    def __init__(
        self,
        schedule: NoiseScheduleName = "linear",
        exponent: float = 2.0,
        corruption: Literal["absorbing", "uniform"] = "absorbing",
        self_conditioning: bool = False,
        mask: MaskName = "bidirectional",
        steps: int = 32,
        sampling_grid: TimeGridName = "uniform",
        unit: Unit | None = None,
    ) -> None:
        super().__init__(mask)
        self.unit = require_unit(unit)
        apart = "unit 'token' is for absorbing corruption: the uniform one replaces each code on its own"
        require(corruption != "uniform" or unit != "token", apart)
        require(steps >= 1, f"steps {steps} must be at least 1")
        require_one_of("corruption", corruption, PROCESSES)
        self.noise = PROCESSES[corruption](NoiseSchedule(schedule, exponent), sampling_grid)
        self.self_conditioning, self.steps = self_conditioning, steps

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`noise_level` where the network is given the time; `self_conditioning`, the map of an earlier prediction."""
        parts: dict[str, nn.Module] = {"noise_level": noise_level_for(backbone)} if self.noise.tells_time else {}
        if self.self_conditioning:
            earlier = nn.Linear(backbone.dim, backbone.dim, bias=False)
            nn.init.zeros_(earlier.weight)
            parts["self_conditioning"] = earlier
        return parts

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix and the corrupted tokens; the loss is on hidden positions (absorbing) or all."""
        return self._row(tokens, generator, draws, early=False)

    def _row(self, tokens: Tokens, generator: Generator, draws: Draws, early: bool) -> Corrupted:
        start = generator.prefix_length
        layout = pad(self.noise.layout(generator.prefix, tokens.grid, tokens.values.device), tokens.lengths, start)
        return self.noise.corrupt(tokens, self.codes(generator), layout, self.mask, draws, early)

    def losses(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> dict[str, Tensor]:
        row, chosen = self.corrupt(tokens, generator, draws), draws.uniform("self_conditioning") < 0.5
        return {self.mode: self.loss(generator, row, condition, self._previous(generator, row, condition, chosen))}

    def bound(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> Tensor:
        """The whole bound, with the constant for times next to 0, and self-conditioning for every sample."""
        row = self._row(tokens, generator, draws, early=True)
        every = torch.ones(len(tokens), dtype=torch.bool, device=tokens.values.device)
        nats = self.loss(generator, row, condition, self._previous(generator, row, condition, every))
        return nats.double() + self.noise.remainder(self.choices(generator))

    def loss(
        self, generator: Generator, row: Corrupted, condition: Conditioning, previous: Tensor | None = None
    ) -> Tensor:
        """The bound (B,) in nats per token, but for its constant; `previous` (B, N, dim) for self-conditioning."""
        added = None if previous is None else self.part(generator, "self_conditioning")(previous)
        nats = self.noise.nats(self.choices(generator), self.features(generator, row, condition, added), row)
        return (row.weights.to(nats.dtype) * nats).flatten(1).sum(1)

    def _previous(self, generator: Generator, row: Corrupted, condition: Conditioning, chosen: Tensor) -> Tensor | None:
        """Embedding (B, N, dim) of a first prediction without gradient for the chosen rows (B,) bool, 0 for the others
        and at visible positions; None without self-conditioning.
        """
        if not self.self_conditioning:
            return None
        rows = chosen.nonzero()[:, 0]
        previous = condition.vector.new_zeros(*row.values.shape[:2], condition.vector.shape[-1])
        if not len(rows):
            return previous
        layout = row.layout if row.layout.batch == 1 else row.layout.map(lambda field: field[rows])
        hidden, levels = (None if x is None else x[rows] for x in (row.hidden, row.levels))
        with torch.no_grad():
            logits = self.choices(generator).logits(
                generator(
                    row.values[rows], layout, row.mask, condition.rows(rows), hidden,
                    outputs=row.values.shape[1], modulation=self.modulation(generator, levels),
                )
            )  # fmt: skip
        expected = expected_embedding(generator, logits.softmax(-1), hidden)
        return previous.to(expected.dtype).index_copy(0, rows, expected)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """The ancestral sampler, or a remasking one; `keep` may fix any positions."""
        canvas = Canvas(generator, request)
        start = generator.prefix_length
        layout = self.noise.layout(generator.prefix, request.whole(generator), canvas.tokens.device).slice(
            0, start + canvas.length
        )
        options.require_no_context(self.mode)
        model = request.guided(generator, options.guidance)
        again = self.part(generator, "self_conditioning") if self.self_conditioning else None
        denoiser = Denoiser(model, pad(layout, canvas.lengths, start), self.mask, self, self.codes(generator), again)
        yield canvas.state(0, 0, 0)
        yield from self.noise.sample(denoiser, canvas, options.decoding, options.steps or self.steps, request.draws)

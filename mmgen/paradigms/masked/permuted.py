"""Generation in an announced order: hidden positions know which of them come when (BAD, Hosseyni et al. 2024)."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role, pad
from mmgen.core.masks import MaskName
from mmgen.core.shape_cache import passing
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.embeddings.waves import RankMark
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions
from mmgen.paradigms.decoding import top, unmask
from mmgen.paradigms.masked.codebooks import MaskedCodebooks
from mmgen.paradigms.schedules import RevealScheduleName, ScheduleName

Hiding = Callable[[Tensor, Draws], tuple[Tensor, Tensor, Tensor]]


class Permuted(Paradigm):
    """Predict tokens at random places from the visible ones, while each hidden position announces its rank in a random
    order and sees those hidden ones that are generated after it: where and when, never what they are (BAD, Hosseyni et
    al. 2024).

    Visible tokens are partly wrong in training, and are predicted too, so that mistakes of earlier steps do less harm.
    Sampled in a few steps, in the announced order (`order: random`; at temperature 0 in the paper) or the surest first
    (`order: confidence`). Any positions may be known.

    A rank belongs to a whole position, so that there is no `unit` to choose: binary tokens are hidden and revealed
    whole, their groups independent of each other. Of residual tokens it makes the first level, and the others are
    revealed as by `MaskedCodebooks`: nothing of these rows is announced, and the mask lets all visible positions see
    each other, so that one network does both.

    Args:
        mask: who may see whom.
        schedule: law of the hidden share of finer levels in training, and of what stays hidden after each sampling step
            of all levels, where `sampling_schedule` is None.
        steps: sampling steps of each level, the last number for all that follow; `SampleOptions.steps` replaces the
            first.
        few: share of the training rows of which at most half is hidden; of the others at least half is.
        token_noise: share of the visible codes that are random in the input in training at most; each row draws its own
            between 0 and this one.
        coarse: how much more often training draws coarse levels, as for `MaskedCodebooks`.
        sampling_schedule: what stays hidden after each sampling step, as for `Masked`.
    """

    mode = "permuted"
    starts = False
    predicts_visible = True
    likelihood = "bound"

    def __init__(
        self,
        mask: MaskName = "permuted",
        schedule: ScheduleName = "cosine",
        steps: tuple[int, ...] = (10, 4, 2, 1),
        few: float = 0.1,
        token_noise: float = 0.4,
        coarse: float = 0.0,
        sampling_schedule: RevealScheduleName | None = None,
    ) -> None:
        super().__init__(mask)
        if not 0 <= few <= 1 or not 0 <= token_noise <= 1:
            raise UserError(f"few and token_noise are shares from 0 to 1, got {few:g} and {token_noise:g}")
        self.finer = MaskedCodebooks(schedule, mask, steps, coarse=coarse, sampling_schedule=sampling_schedule)
        self.few, self.token_noise = few, token_noise

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`rank`: the vectors by which hidden positions announce their rank."""
        return {"rank": RankMark(backbone.dim)}

    def marks(self, generator: Generator, row: Layout) -> Tensor:
        """The announced ranks, at hidden positions."""
        return torch.where((row.role == Role.NOISY)[..., None], self.part(generator, "rank")(row.rank), 0.0)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """Hidden positions announce random ranks, all real ones predict themselves; finer levels as by
        `MaskedCodebooks`.
        """
        return self._row(tokens, generator, draws, self._hide, self.finer)

    def bound(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> Tensor:
        """That of sampling one token a step in a random order, and of finer levels as `MaskedCodebooks`."""
        linear = copy.copy(self.finer)
        linear.schedule = "linear"
        return self.loss(generator, self._row(tokens, generator, draws, _in_turn, linear), condition).double()

    def _row(
        self, tokens: Tokens, generator: Generator, draws: Draws, hide: Hiding, finer: MaskedCodebooks
    ) -> Corrupted:
        real = real_positions(tokens.values, tokens.lengths)
        hidden, rank, weights = hide(real, draws)
        if generator.spec.kind == "residual":
            row = finer.corrupt(tokens, generator, draws)
            assert row.hidden is not None
            first = row.weights[..., 0].any(1)
            share = row.weights.sum((1, 2))[:, None]  # one over the chance of the level
            hidden = hidden & first[:, None]
            row.hidden[..., 0] = hidden
            row.weights[..., 0] = torch.where(first[:, None], share * weights, 0.0)
        else:
            layout = row_layout(generator.prefix, tokens.grid, real.device)
            layout = pad(layout, tokens.lengths, generator.prefix_length)
            row = Corrupted(tokens.values, hidden, layout, self.mask, tokens.values, weights)
        return replace(
            row,
            values=self._corrupt_inputs(tokens.values, generator, draws),
            layout=_announced(row.layout, hidden, rank),
        )

    def _hide(self, real: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Which positions are hidden (B, N), what ranks they announce, which are independent of that, and weights."""
        length, share = real.shape[1], draws.uniform("permuted/share") / 2
        share = torch.where(draws.uniform("permuted/few") < self.few, share, share + 0.5)
        count = (share * real.sum(1)).round().clamp_min(1)
        hidden = top(draws.uniform("permuted/hidden", length), real, count)
        return hidden, _ranks(draws.uniform("permuted/rank", length), real), real / real.sum(1, keepdim=True).double()

    def _corrupt_inputs(self, values: Tensor, generator: Generator, draws: Draws) -> Tensor:
        if self.token_noise == 0 or not generator.training:
            return values
        share = self.token_noise * draws.uniform("permuted/token_noise")[:, None]
        return self.codes(generator).replace(values, share, "token_noise", draws)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Reveal several tokens a step; `keep` may fix any positions, at all levels. Ranks are among the open
        positions.
        """
        options.require_plain(self.mode)
        head = self.choices(generator)
        canvas, spec, start = Canvas(generator, request), generator.spec, generator.prefix_length
        model, residual = request.guided(generator, options.guidance), spec.kind == "residual"
        row = row_layout(generator.prefix, request.whole(generator), canvas.tokens.device)
        row, open_ = pad(row.slice(0, start + canvas.length), canvas.lengths, start), ~canvas.committed
        finer = torch.arange(spec.levels, device=open_.device) > 0
        rank = _ranks(request.draws.uniform("permuted/rank", canvas.length), open_)
        yield canvas.state(0, 0, 0)

        def filled(first: Tensor) -> Tensor:
            known = head.split(canvas.tokens)
            return head.join(torch.cat([first, known[..., first.shape[-1] :]], dim=-1))

        def predict(first: Tensor, committed: Tensor) -> Tensor:
            hidden = ~committed[..., None] | (open_[..., None] & finer) if residual else ~committed
            progress = (canvas.real & committed).sum(1).double() / canvas.real.sum(1)
            with passing():  # this layout never comes again
                layout = _announced(row, ~committed, rank)
                logits = model(
                    filled(first), layout, self.mask, progress, hidden=hidden, outputs=canvas.length,
                    added=self.marks(generator, layout.slice(start)),
                )  # fmt: skip
            return logits[:, :, :1] if residual else logits

        codes = head.split(canvas.tokens)
        states = unmask(
            predict, codes[..., :1] if residual else codes, ~open_, options.decoding, self.finer.sampling_schedule,
            options.steps or self.finer.steps[0], request.draws, "permuted", rank,
        )  # fmt: skip
        step = 0
        for step, (first, revealed) in enumerate(states, start=1):
            canvas.tokens = filled(first)
            if not residual:
                canvas.committed = revealed
            yield canvas.state(step, 0, model.forward_passes, revealed if residual else None)
        if residual:
            yield from self.finer.reveal(canvas, model, request, options, first=1, step=step)


def _in_turn(real: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the sampler at random: hidden are the positions from a rank on, and that one is asked for."""
    rank = _ranks(draws.uniform("permuted/rank", real.shape[1]), real)
    turn = (draws.uniform("permuted/turn") * real.sum(1)).long()[:, None]
    return real & (rank >= turn), rank, (real & (rank == turn)).double()


def _ranks(chance: Tensor, among: Tensor) -> Tensor:
    """(B, N) int64: a random order of some positions, from 0 on; the others come behind them."""
    return chance.masked_fill(~among, 2.0).argsort(dim=1, stable=True).argsort(dim=1)


def _announced(row: Layout, hidden: Tensor, rank: Tensor) -> Layout:
    """A row, prefix first, whose hidden positions (B, N) tell their ranks (B, N)."""
    before = row.slice(0, row.length - hidden.shape[1])
    own = row.slice(before.length).expand(len(hidden))
    return before + own.but(rank=rank, role=torch.where(hidden, Role.NOISY, own.role))

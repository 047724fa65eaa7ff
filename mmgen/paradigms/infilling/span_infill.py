"""Infilling of spans by autoregression: they are moved behind the rest of the row, so that what fills a span has seen
both sides of it (CM3, Aghajanyan et al. 2022; VoiceCraft, Peng et al. 2024).
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import require
from mmgen.core.layout import Layout, Role
from mmgen.core.masks import MaskName
from mmgen.core.patterns import Pattern, PatternName
from mmgen.core.shape_cache import passing
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.paradigms.autoregressive.codebooks import CodebookAutoregressive
from mmgen.paradigms.autoregressive.steps import StepParadigm, StepRow, choose, leveled, like, require_places
from mmgen.paradigms.base import Paradigm, Request, SampleOptions, State
from mmgen.paradigms.infilling.filling import Filling
from mmgen.paradigms.infilling.spans import Placing, Spans, cut, draw_spans


class SpanInfill(StepParadigm):
    """Predict next steps on rows whose spans are moved to the end, so that a hole is filled from both its sides.

    A row is what lies between the spans, with a sentinel in the place of each; then each span behind its sentinel, and
    an END. Each piece is laid out in the pattern for itself, and nothing is predicted from one piece to the next. The
    condition stays in front.

    With `ends`, spans and rows say END behind their last code. Rows without spans are those of
    `CodebookAutoregressive`: with `least: 0` there are some, and the checkpoint has the mode `ar` too.

    Args:
        pattern: `delay`, `flat`, `parallel` or `coarse_first`, see `mmgen.core.patterns.Pattern`.
        delays: steps by which each level comes later, for `delay` and `coarse_first`: 0, 1, 2, ... and 0 by default.
        least: spans a row at least; their number is a Poisson one of mean 1, within `least` and `most`.
        most: spans a row at most, and holes that can be filled at once. Each has a sentinel of its own.
        longest: tokens of a span at most; None for as many as an equal share of the row.
        positions: where spans and what follows them stand. `original`: in their places, so that a text keeps pace, and
            the gap in what is given tells how long a span must be: it is filled at that length. `closed`: a span begins
            where it was cut, and what follows closes the gap; `rearranged`: one piece after the other (VoiceCraft).
            Under these nothing tells a span's length but its END, so that it may become shorter or longer.
        context: the loss covers what lies between the spans too.
        input_dropout: share of the steps that are hidden from the input in training, see `StepParadigm`.
        token_noise: share of the codes that are random in the input in training, likewise.
        mask: who may see whom; one under which a step sees a later one is refused.
        ends: spans and rows end by themselves.
    """

    mode = "infill"

    def __init__(
        self,
        pattern: PatternName = "delay",
        delays: list[int] | None = None,
        least: int = 1,
        most: int = 3,
        longest: int | None = None,
        positions: Placing = "original",
        context: bool = True,
        input_dropout: float = 0.0,
        token_noise: float = 0.0,
        mask: MaskName = "causal",
        ends: bool = False,
    ) -> None:
        super().__init__(pattern, delays, input_dropout, token_noise, mask, ends)
        fine = 0 <= least <= most and most >= 1
        require(fine, f"spans from {least} to {most}: least must be 0 or more, and most at least that and 1")
        require(longest is None or longest >= 1, f"longest {longest} must be at least 1")
        self.least, self.most, self.longest = least, most, longest
        self.positions, self.context = positions, context

    def modes(self) -> dict[str, Paradigm]:
        """Also `ar` where rows without spans are trained on."""
        delays = None if self.delays is None else list(self.delays)
        plain = CodebookAutoregressive(
            self.pattern, delays, self.input_dropout, self.token_noise, self.mask.name, self.ends
        )
        return {self.mode: self} | ({plain.mode: plain} if self.least == 0 else {})

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`sentinel`: a vector for each span, which marks its place; and what rows with an END need."""
        sentinel = nn.Embedding(self.most, backbone.dim)
        nn.init.normal_(sentinel.weight, std=0.5)  # as large as the embedding of a token, which it is added to
        return super().parts(spec, backbone) | {"sentinel": sentinel}

    def marks(self, generator: Generator, row: Layout) -> Tensor:
        """The sentinels, in their places."""
        vectors = self.part(generator, "sentinel")(row.segment.clamp(0, self.most - 1))
        return torch.where((row.role == Role.SENTINEL)[..., None], vectors, 0.0)

    def steps(self, generator: Generator) -> Pattern:
        """As for every paradigm over codebooks."""
        pattern, sentinel = super().steps(generator), self.part(generator, "sentinel")
        assert isinstance(sentinel, nn.Embedding)
        fewer = f"SpanInfill moves up to {self.most} spans, and this generator was made for {sentinel.num_embeddings}"
        require(sentinel.num_embeddings >= self.most, fewer)
        require_places(generator, pattern.layout(generator.spec.grid, self.ends))
        return pattern

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> StepRow:
        """The row with spans drawn for it."""
        lengths = _lengths(tokens)
        row = self.arrange(tokens, generator, draw_spans(lengths, self.least, self.most, self.longest, draws))
        assert row.hidden is not None
        return replace(
            row,
            values=like(self.corrupt_inputs(leveled(row.values), generator, draws), generator),
            hidden=like(self.drop_inputs(leveled(row.hidden), generator, draws), generator),
        )

    def arrange(self, tokens: Tokens, generator: Generator, spans: Spans) -> StepRow:
        """The row with these spans moved to its end. Each position predicts the next step of its own piece."""
        pattern, codes, lengths = self.steps(generator), leveled(tokens.values), _lengths(tokens)
        pieces = cut(pattern, spans, lengths, self.positions, self.ends, spans.length)
        index = torch.arange(-1, int(pieces.stop[:, -1].max()), device=codes.device).expand(len(codes), -1)
        before, own = pieces.at(index), pieces.at(index[:, 1:])
        read = own.frames()
        hidden = (read < 0) | (read == own.of(pieces.length)[..., None])
        values = own.values(codes, read).masked_fill(hidden, 0)
        predicted = before.frames(ahead=1)
        over = predicted == before.of(pieces.length)[..., None]
        targets = torch.where(over & (predicted >= 0), generator.spec.size, before.values(codes, predicted))
        counted, filled = before.real, spans.length.sum(1)
        if not self.context:
            counted = counted & ((before.piece > spans.length.shape[1]) | (filled == 0)[:, None])
            lengths = torch.where(filled > 0, filled, lengths)
        weights = ((predicted >= 0) & counted[..., None]) / lengths[:, None, None].double()
        ending = before.of(pieces.end) & (predicted[..., 0] > 0) if self.ends else None
        return StepRow(
            like(values, generator), like(hidden, generator),
            generator.prefix.to(codes.device) + own.layout(tokens.grid), self.mask,
            like(targets, generator), weights, ending=ending,
        )  # fmt: skip

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """Fill the holes of each row, what `keep` does not fix, one after the other, a step a pass. By default a hole
        keeps its length. With `options.fit` false its END decides: rows may become shorter, or longer up to the grid of
        the request; `request.lengths` are their lengths now.
        """
        options.require_plain(self.mode)
        pattern, fit = self.steps(generator), options.fit
        filling = Filling(pattern, self.positions, self.most, generator, request, fit, self.ends)
        grid = request.whole(generator)
        model = request.guided(generator, options.guidance, generator.prefix_length + filling.positions)
        state = filling.state(0, 0)
        yield state
        number = 0
        while True:
            frames, wanted = filling.next_codes()
            if not bool(wanted.any()):
                break
            assert model.cache is not None
            values, hidden, layout = filling.feed(grid, model.cache.length)
            marks = self.marks(generator, layout)
            if number == 0:
                layout = generator.prefix.to(values.device) + layout
            model.cache.reserve(layout.length)
            progress = state.committed.double().mean(1)
            with passing():
                features = model.features(values, layout, self.mask, hidden=hidden, outputs=1, added=marks)[:, 0]
            logits = self.predict(model, features, progress)
            ending = wanted[:, 0] & (frames[:, 0] > 0) & (not filling.fit) if self.ends else None
            drawn = choose(filling.head, logits, ending, options.decoding, filling.chance(frames))
            filling.take(frames, wanted, drawn)
            number += 1
            state = filling.state(number, model.forward_passes)
            yield state


def _lengths(tokens: Tokens) -> Tensor:
    """(B,) tokens of each row."""
    if tokens.lengths is not None:
        return tokens.lengths
    batch, full = tokens.values.shape[:2]
    return torch.full((batch,), full, device=tokens.values.device)

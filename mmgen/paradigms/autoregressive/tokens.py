"""Autoregression: each token given those before it (decoder-only transformers; LlamaGen, Sun et al. 2024)."""

import math
from collections.abc import Iterator

import torch

from mmgen.core.draws import Draws
from mmgen.core.layout import Layout, pad
from mmgen.core.masks import MaskName
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import Grid, Tokens
from mmgen.core.window import Window
from mmgen.model.generator import Generator
from mmgen.model.heads import require_law
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State, require_ordered, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions, where


class Autoregressive(Paradigm):
    """Next-token prediction in raster order, from the condition's prefix on; sampled with a key-value cache.

    The loss is the exact negative log-likelihood, in nats per token. The codes of a token, of several levels or groups
    of bits, are independent given the tokens before it; `CodebookAutoregressive` goes from one level to the next.

    Args:
        mask: who may see whom; one under which a position sees a later one is refused.
        window: frames in all that a token sees, its own among them, in training and in sampling, where older ones
            leave the cache; None for all.
        sink: frames at the beginning that stay visible besides.
    """

    mode = "ar"
    likelihood = "exact"

    def __init__(self, mask: MaskName = "causal", window: int | None = None, sink: int = 0) -> None:
        super().__init__(mask)
        self.window = Window(window, sink)
        self.mask = self.window.restrict(self.mask)

    def require(self, generator: Generator) -> None:
        """Any head from which tokens can be drawn will do."""
        require_law(generator.head, type(self).__name__)

    def row(self, generator: Generator, grid: Grid, device: torch.device) -> Layout:
        """Prefix and tokens, each in the frame of the token that it predicts, so that it knows the action that leads
        there. Raises UserError where the mask shows a position a later one.
        """
        require_ordered(self.mask, _row(generator.prefix, generator.spec.grid, device, self.window.width))
        return _row(generator.prefix, grid, device, self.window.width)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix and all tokens but the last; each position predicts the token at the next rank."""
        layout = self.row(generator, tokens.grid, tokens.values.device)
        real = real_positions(tokens.values, tokens.lengths)
        layout = pad(layout, tokens.lengths, generator.prefix_length).slice(0, layout.length - 1)
        weights = real.double() / real.sum(1, keepdim=True)
        return Corrupted(tokens.values[:, :-1], None, layout, self.mask, tokens.values, weights)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """One token a step; `keep` may fix a beginning of each row, read in one pass, with a window in one a frame."""
        options.require_plain(self.mode)
        canvas = Canvas(generator, request)
        row = self.row(generator, request.whole(generator), canvas.tokens.device)
        head = require_law(generator.head, type(self).__name__)
        start, count = generator.prefix_length, canvas.length
        canvas.require_reachable(row.rank[0, start : start + count], self.mode)
        row, frame = pad(row, canvas.lengths, start), row.frame[0, start - 1 :].tolist()
        size = math.prod(generator.spec.grid[1:])
        model = request.guided(generator, options.guidance, self.window.capacity(start, count, size), ahead=False)
        if self.window.width is None:
            model.follow(self.mask, row)
        yield canvas.state(0, 0, 0)
        uniform = request.draws.uniform("ar/token", count, head.uniforms)
        prompt = int(canvas.committed.int().cumprod(1).sum(1).min())
        borders = range(size, prompt, size) if self.window.width is not None else ()
        done, step = 0, 0
        for position in (*borders, *range(prompt, count)):  # the token that the next pass asks for
            here = row.slice(done, start + position)
            model.steer(frame[position])
            if self.window.width is not None and model.cache is not None and model.cache.layout is not None:
                model.cache.keep(self.window.visible(model.cache.layout, max(0, position - 1) // size))
            values = canvas.tokens[:, max(0, done - start) : position]
            done = start + position
            with self.window.passing():
                logits = model(values, here, self.mask, canvas.progress, outputs=1)[:, 0]
            if position < prompt:
                continue
            drawn = head.draw(logits, options.decoding, uniform[:, position])[:, None].to(canvas.tokens.dtype)
            place, step = slice(position, position + 1), step + 1
            canvas.tokens[:, place] = where(canvas.committed[:, place], canvas.tokens[:, place], drawn)
            canvas.committed[:, position] = True
            yield canvas.state(step, position, model.forward_passes)


@remember(256)
def _row(prefix: Layout, grid: Grid, device: torch.device, window: int | None) -> Layout:
    """With frames as blocks where they are what a window counts."""
    size = math.prod(grid[1:])
    row = row_layout(prefix, grid, device, None if window is None else size)
    predicted = row.frame.roll(-1, dims=1)
    predicted[:, -1] = grid[0] - 1
    return row.but(frame=predicted)

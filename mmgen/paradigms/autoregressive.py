"""Autoregression: each token given those before it (decoder-only transformers; LlamaGen, Sun et al. 2024, for
images).
"""

from collections.abc import Iterator

import torch

from mmgen.draws import Draws
from mmgen.generator import Generator
from mmgen.heads import discrete
from mmgen.layout import Layout, pad
from mmgen.mask import Mask
from mmgen.paradigms.base import (
    Canvas,
    Corrupted,
    Paradigm,
    Request,
    SampleOptions,
    State,
    real_positions,
    row_layout,
)
from mmgen.paradigms.decoding import distribution, draw
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.remember import remember
from mmgen.tokens import Tokens


class Autoregressive(Paradigm):
    """Next-token prediction in raster order, from the condition's prefix on; sampled with a key-value cache.

    The loss is the exact negative log-likelihood, in nats per token.

    Args:
        mask: who may see whom; one under which a position sees a later one is refused.
    """

    mode = "ar"
    likelihood = "exact"

    def __init__(self, mask: str = "causal") -> None:
        super().__init__(mask)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """The row is the prefix and all tokens but the last; each position predicts the token at the next rank."""
        layout = row_layout(generator.prefix_length, tokens.grid, tokens.values.device)
        _require_ordered(self.mask, layout)
        real = real_positions(tokens.values, tokens.lengths)
        layout = pad(layout, tokens.lengths, generator.prefix_length).slice(0, layout.length - 1)
        weights = real.double() / real.sum(1, keepdim=True)
        return Corrupted(tokens.values[:, :-1], None, layout, self.mask, tokens.values, weights)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """One token a step; `keep` may fix a beginning of each row, which is read in one pass."""
        options.decoding.require_supported(f"mode {self.mode!r}")
        canvas = Canvas(generator, request)
        row = row_layout(generator.prefix_length, generator.spec.grid, canvas.tokens.device)
        _require_ordered(self.mask, row)
        head = discrete(generator.head, type(self).__name__)
        start, count = generator.prefix_length, canvas.length
        canvas.require_reachable(row.rank[0, start : start + count], self.mode)
        row = pad(row, canvas.lengths, start)
        model = GuidedGenerator(generator, request.labels, options.guidance, capacity=row.length)
        yield canvas.state(0, 0, 0)
        uniform = request.draws.uniform("ar/token", count, head.groups)
        prompt = int(canvas.committed.int().cumprod(1).sum(1).min())
        values, done = canvas.tokens[:, :prompt], 0
        for step, position in enumerate(range(prompt, count), start=1):
            here = row.slice(done, start + position)
            done = start + position
            logits = model(values, here, self.mask, canvas.progress(), outputs=1)[:, 0]
            drawn = head.join(draw(distribution(logits, options.decoding), uniform[:, position]))
            fixed = canvas.committed[:, position]
            canvas.tokens[:, position] = torch.where(fixed, canvas.tokens[:, position], drawn)
            canvas.committed[:, position] = True
            values = canvas.tokens[:, position : position + 1]
            yield canvas.state(step, position, model.forward_passes)


@remember(256)
def _require_ordered(mask: Mask, row: Layout) -> None:
    """No position may see a later one; the prefix is one step."""
    mask.require_cacheable(row, row.rank.clamp_min(-1))

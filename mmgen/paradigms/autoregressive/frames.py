"""Autoregression over frames: each frame in one pass, under the mask of frame-wise attention (TC-LLaVA, Gao et al.
2024; MAGI at inference, Zhou et al. 2025), which shows whatever comes before and all of the own frame.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.errors import require
from mmgen.core.layout import Layout, pad
from mmgen.core.masks import MaskName
from mmgen.core.tokens import Grid, Tokens
from mmgen.core.window import Window
from mmgen.model.generator import Generator
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State, require_ordered, row_layout
from mmgen.paradigms.canvas import Canvas, real_positions, where


class FrameAutoregressive(Paradigm):
    """Next-frame prediction: the row holds the clip a frame late, behind a frame of mask tokens, and each position
    predicts the token of the next frame at its own place. All codes of a frame are independent given the frames before
    it, which makes a frame cost one pass. The loss is the exact negative log-likelihood of that model, in nats per
    token.

    Args:
        mask: who may see whom; one under which a frame sees a later one is refused.
        window: earlier frames that a frame sees, in training and in sampling, where older ones leave the cache; None
            for all.
        sink: frames at the beginning that stay visible besides.
        context_noise: the largest share of the tokens of a frame that are replaced by random ones where it is a history
            in training.
    """

    mode = "frame"
    starts = False
    likelihood = "exact"

    def __init__(
        self, mask: MaskName = "frame_wise", window: int | None = None, sink: int = 0, context_noise: float = 0.0
    ) -> None:
        super().__init__(mask)
        require(0 <= context_noise <= 1, f"context_noise {context_noise} must lie in [0, 1]")
        self.window, self.context_noise = Window(window, sink), context_noise
        self.mask, self.measured = self.window.restrict(self.mask), {"context_noise": 0.0}

    def row(self, generator: Generator, grid: Grid, device: torch.device) -> Layout:
        """Prefix and frames, each at the place of the frame that it predicts; UserError where the mask is wrong."""
        size = grid[1] * grid[2]
        require_ordered(self.mask, row_layout(generator.prefix, generator.spec.grid, device, size), "block")
        return row_layout(generator.prefix, grid, device, size)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        """A frame of mask tokens and all frames but the last."""
        frames, size = tokens.grid[0], tokens.grid[1] * tokens.grid[2]
        row = pad(self.row(generator, tokens.grid, tokens.values.device), tokens.lengths, generator.prefix_length)
        real = real_positions(tokens.values, tokens.lengths)
        past = tokens.values
        if self.context_noise:
            share = self.context_noise * draws.uniform("context_noise", frames).repeat_interleave(size, dim=1)
            past = self.codes(generator).replace(past, share, "context", draws)
        values = torch.cat([torch.zeros_like(past[:, :size]), past[:, :-size]], dim=1)
        weights = real.double() / real.sum(1, keepdim=True)
        return Corrupted(values, _first(values, size), row, self.mask, tokens.values, weights)

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        """A frame a step; `keep` may fix any positions up to and in the first frame that is not all known."""
        options.decoding.require_supported(f"mode {self.mode!r}")
        options.require_one_block(f"mode {self.mode!r} makes each frame in one pass")
        grid, start = request.whole(generator), generator.prefix_length
        size = grid[1] * grid[2]
        canvas = Canvas(generator, request)
        row = self.row(generator, grid, canvas.tokens.device)
        codes = self.codes(generator)
        canvas.require_reachable(row.block[0, start : start + canvas.length], self.mode)
        row = pad(row.slice(0, start + canvas.length), canvas.lengths, start)
        capacity = self.window.capacity(start, canvas.length, size)
        model = request.guided(generator, options.guidance, capacity, ahead=False)
        yield canvas.state(0, 0, 0)
        uniform = request.draws.uniform("frame/token", canvas.length, codes.head.groups)
        noise, done = options.context_noise or 0.0, 0
        values = torch.zeros_like(canvas.tokens[:, :size])
        for frame, begin in enumerate(range(0, canvas.length, size)):
            if bool(canvas.committed[:, begin:].all()):
                break
            here = slice(begin, min(begin + size, canvas.length))
            count, stop = here.stop - here.start, start + here.stop
            model.steer(frame)
            if model.cache is not None and model.cache.layout is not None:
                model.cache.keep(self.window.visible(model.cache.layout, frame))
            hidden = None if frame else _first(values[:, :count], size)
            queries = row.slice(done, stop)
            with self.window.passing():
                logits = model(values[:, :count], queries, self.mask, canvas.progress, hidden=hidden, outputs=count)
            done = stop
            drawn = codes.head.join(draw(distribution(logits, options.decoding), uniform[:, here]))
            canvas.tokens[:, here] = where(canvas.committed[:, here], canvas.tokens[:, here], drawn)
            canvas.committed[:, here] = True
            values = canvas.tokens[:, here]
            if noise:
                values = codes.replace(values, noise, f"frame/{frame}/context", request.draws)
            yield canvas.state(frame + 1, frame, model.forward_passes)


def _first(values: Tensor, size: int) -> Tensor:
    """(B, N) bool: the first frame of a row (B, N) or (B, N, Q), of `size` positions."""
    return (torch.arange(values.shape[1], device=values.device) < size).expand(values.shape[:2])

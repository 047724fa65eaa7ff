"""What paradigms over codebooks share: rows of steps of several levels, and the choice END where a row is over."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require
from mmgen.core.layout import Layout
from mmgen.core.masks import MaskName
from mmgen.core.patterns import Pattern, PatternName
from mmgen.core.shape_cache import remember
from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.model.heads import ChoiceHead
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms.base import Corrupted, Paradigm, require_ordered
from mmgen.paradigms.decoding import Decoding
from mmgen.paradigms.guidance import GuidedGenerator


@dataclass(frozen=True, eq=False)
class StepRow(Corrupted):
    """A training row of steps."""

    ending: Tensor | None = None  # (1 or B, K) bool, where END is a choice at the first level, else impossible


class StepParadigm(Paradigm):
    """A paradigm whose rows are steps of a pattern. Tokens of one level are steps of their own.

    Args:
        pattern: `delay`, `flat`, `parallel` or `coarse_first`, see `Pattern`.
        delays: of each level, see `Pattern`.
        input_dropout: share of the steps whose codes are hidden from what comes later, in training alone, so that a
            network learns to read the condition and not to recite what it was trained on (word dropout, Bowman et al.
            2016).
        token_noise: share of the codes that are replaced by random ones in what comes later sees of them, in training
            alone, so that a network goes on well after mistakes of its own.
        mask: who may see whom; one under which a step sees a later one is refused.
        ends: rows end by themselves: END is one more choice at the first level.

    Raises:
        UserError: shares outside [0, 1], or delays that the pattern does not take.
    """

    def __init__(
        self,
        pattern: PatternName,
        delays: list[int] | None,
        input_dropout: float,
        token_noise: float,
        mask: MaskName,
        ends: bool,
    ) -> None:
        super().__init__(mask)
        self.ends = ends
        shares = f"input_dropout and token_noise are shares from 0 to 1, got {input_dropout:g} and {token_noise:g}"
        require(0 <= input_dropout <= 1 and 0 <= token_noise <= 1, shares)
        self.input_dropout, self.token_noise = input_dropout, token_noise
        self.pattern, self.delays = pattern, tuple(delays) if delays else None
        Pattern(pattern, len(self.delays or (0,)), self.delays)  # refuses what is wrong for any number of levels

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """`end`: the score of END from the features of a position, 0 at initialisation."""
        if not self.ends:
            return {}
        if spec.kind not in ("categorical", "residual"):
            raise UserError(f"ends is for tokens of codebooks, and these are {spec.kind}; leave it out")
        end = nn.Linear(backbone.dim, 1)
        nn.init.zeros_(end.weight)
        nn.init.zeros_(end.bias)
        return {"end": end}

    def with_end(self, generator: Generator, logits: Tensor, features: Tensor) -> Tensor:
        """Logits (..., groups, choices), and where rows end by themselves END behind them: 0 but at the first group."""
        if not self.ends:
            return logits
        end = self.part(generator, "end")(features).to(logits.dtype)
        return torch.cat([logits, F.pad(end[..., None], (0, 0, 0, logits.shape[-2] - 1))], dim=-1)

    def steps(self, generator: Generator) -> Pattern:
        """The pattern over the levels of a generator's tokens. Raises UserError for continuous tokens, delays of
        another number of levels, actions, which no step follows, or a mask under which a step sees a later one.
        """
        self.choices(generator)
        if "actions" in generator.conditions:
            raise UserError(f"{type(self).__name__} follows no actions; take Autoregressive or FrameAutoregressive")
        pattern = Pattern(self.pattern, generator.spec.levels, self.delays)
        require_ordered(self.mask, generator.prefix + pattern.layout(generator.spec.grid))
        return pattern

    def drop_inputs(self, hidden: Tensor, generator: Generator, draws: Draws) -> Tensor:
        """hidden (B, K, Q) bool, and in training all codes of the steps that are dropped."""
        if self.input_dropout == 0 or not generator.training:
            return hidden
        return hidden | (draws.uniform("input_dropout", hidden.shape[1]) < self.input_dropout)[..., None]

    def corrupt_inputs(self, codes: Tensor, generator: Generator, draws: Draws) -> Tensor:
        """codes (B, K, Q), and in training some random ones in their place."""
        if self.token_noise == 0 or not generator.training:
            return codes
        wrong = (draws.uniform("token_noise/token", *codes.shape[1:]) * generator.spec.size).long()
        return torch.where(draws.uniform("token_noise/replaced", *codes.shape[1:]) < self.token_noise, wrong, codes)

    def loss(self, generator: Generator, row: Corrupted, condition: Conditioning) -> Tensor:
        """Weighted cross-entropy (B,) in nats per token, a token being the codes of all levels."""
        assert isinstance(row, StepRow)
        choices = self.choices(generator).split(row.targets)
        logits = without_end(self.logits(generator, row, condition), row.ending)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        nats = F.cross_entropy(logits.flatten(0, -2), choices.flatten(), reduction="none").view(choices.shape)
        return (row.weights.to(nats.dtype) * nats).sum((1, 2))

    def logits(self, generator: Generator, row: StepRow, condition: Conditioning) -> Tensor:
        """(B, K, groups, choices) of a training row, with END where rows end by themselves."""
        features = self.features(generator, row, condition)
        return self.with_end(generator, self.choices(generator).logits(features), features)

    def predict(self, model: GuidedGenerator, features: Tensor, progress: Tensor) -> Tensor:
        """Guided logits (B, groups, choices), with END, of features (halves B, dim)."""
        logits = self.with_end(model.generator, model.head.predict(features), features)
        return model.guided(logits, progress)


def without_end(logits: Tensor, ending: Tensor | None) -> Tensor:
    """Logits (..., groups, choices) with END, the last choice, at the first level alone, where `ending` (...); None for
    all.
    """
    if ending is None:
        return logits
    barred = torch.ones(*ending.shape, *logits.shape[-2:], dtype=torch.bool, device=logits.device)
    barred[..., :-1] = False
    barred[..., 0, -1] = ~ending
    return logits.masked_fill(barred, -torch.inf)


def choose(head: ChoiceHead, logits: Tensor, ending: Tensor | None, decoding: Decoding, uniform: Tensor) -> Tensor:
    """A code for each level, (B, Q) int64: logits (B, groups, choices), ending (B,), uniform (B, groups) in [0, 1)."""
    drawn = head.join(draw(distribution(without_end(logits, ending), decoding), uniform))
    return drawn if drawn.dim() == 2 else drawn[:, None]


def leveled(tokens: Tensor) -> Tensor:
    """Codes (B, N, Q) of tokens (B, N) or (B, N, Q); a view."""
    return tokens if tokens.dim() == 3 else tokens[..., None]


def like(codes: Tensor, generator: Generator) -> Tensor:
    """Inverse of `leveled`: codes, or what is said of them by level, as the tokens of a generator have them."""
    return codes if generator.spec.kind == "residual" else codes[..., 0]


def require_places(generator: Generator, layout: Layout) -> None:
    """Raise UserError where a learned table of positions has no place for steps behind the last frame."""
    table = generator.positions
    if table is not None and table.kind == "learned" and _last(layout) >= table.grid[0]:
        raise UserError(
            f"the row goes on to place {_last(layout)} and the learned table of positions ends at {table.grid[0] - 1}:"
            " train with model.positions none, sincos or spatial, which do not run out"
        )


@remember(256)
def _last(layout: Layout) -> int:
    return int(layout.position[..., 0].max())

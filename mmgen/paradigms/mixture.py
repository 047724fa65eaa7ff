"""Several paradigms in one run and one checkpoint: each training sample is given to one of them."""

from collections.abc import Iterator
from itertools import accumulate

import torch
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.paradigms.base import Corrupted, Paradigm, Request, SampleOptions, State


class Mixture(Paradigm):
    """Trains its members on shares of the samples; the checkpoint can be sampled with any of them. The sample's own
    stream decides which member it meets in an epoch, whatever the batch.

    Args:
        members: mode name -> paradigm.
        weights: mode name -> share of the samples, up to a factor; equal shares by default.
    """

    mode = "mixture"

    def __init__(self, members: dict[str, Paradigm], weights: dict[str, float] | None = None) -> None:
        require(len(members) > 0, "a mixture needs at least one member")
        if weights is not None and (weights.keys() != members.keys() or min(weights.values()) <= 0):
            raise UserError(f"mixture weights need one positive number for each of {', '.join(members)}")
        self.members = members
        shares = [1.0 if weights is None else weights[name] for name in members]
        # No tensor: where a model is built without memory, torch would load its compiler to divide one.
        self.bounds = list(accumulate(share / sum(shares) for share in shares))[:-1]

    @property
    def ends(self) -> bool:  # type: ignore[override]
        return any(member.ends for member in self.members.values())

    @property
    def starts(self) -> bool:  # type: ignore[override]
        return any(member.starts for member in self.members.values())

    def parts(self, spec: TokenSpec, backbone: Transformer) -> dict[str, nn.Module]:
        """Those of all members; one name is one module. Raises UserError for different modules of one name."""
        parts: dict[str, nn.Module] = {}
        for member in self.members.values():
            for name, part in member.parts(spec, backbone).items():
                differ = f"members of the mixture bring different modules called {name!r}; give them the same options"
                require(_shapes(parts.setdefault(name, part)) == _shapes(part), differ)
        return parts

    def require(self, generator: Generator) -> None:
        for member in self.members.values():
            member.require(generator)

    def modes(self) -> dict[str, Paradigm]:
        return dict(self.members)

    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        raise UserError("a mixture has no single training row; take one of its members")

    def losses(self, generator: Generator, tokens: Tokens, condition: Conditioning, draws: Draws) -> dict[str, Tensor]:
        """Per-sample losses by mode; modes that no sample of this batch was given to are absent."""
        bounds = torch.tensor(self.bounds, dtype=torch.float64, device=tokens.values.device)
        member = torch.bucketize(draws.uniform("member"), bounds, right=True)
        losses = {}
        for number, (name, paradigm) in enumerate(self.members.items()):
            rows = (member == number).nonzero()[:, 0]
            if len(rows):
                part = paradigm.losses(generator, tokens.rows(rows), condition.rows(rows), draws.rows(rows))
                (losses[name],) = part.values()
        return losses

    def sample(self, generator: Generator, request: Request, options: SampleOptions) -> Iterator[State]:
        raise UserError(f"choose one of the modes {', '.join(self.members)} to sample with")


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}

"""Law 1 for every paradigm that exists, and the proof that it can fail."""

import inspect
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.mask import Mask
from mmgen.core.tokens import Tokens
from mmgen.model.generator import Generator
from mmgen.paradigms import Autoregressive, FrameAutoregressive, Masked, MaskedDiffusion, Mixture, Paradigm
from mmgen.paradigms.base import Corrupted
from tests.leaks import find_leaks
from tests.worlds import PARADIGMS, condition_of, draws, generator, ragged, spec_for, tokens_for

LABELS = torch.tensor([0, 1, 2, -1])
LENGTHS = torch.tensor([9, 3, 7, 1])


def leaks_of(paradigm: Paradigm, lengths: torch.Tensor | None = None) -> list[str]:
    model = generator(spec_for(paradigm))
    tokens = tokens_for(paradigm, lengths=lengths)
    return find_leaks(paradigm, model, tokens, condition_of(model, LABELS), draws(4))


def concrete(kind: type[Paradigm]) -> Iterator[type[Paradigm]]:
    """Every class of mmgen below this one that can be made."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("mmgen.") and not inspect.isabstract(each):
            yield each
        yield from concrete(each)


def test_the_laws_run_over_every_paradigm() -> None:
    assert {type(each) for each in PARADIGMS.values()} == {*concrete(Paradigm)} - {Mixture}


@pytest.mark.parametrize("paradigm", PARADIGMS.values(), ids=PARADIGMS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@torch.no_grad()
def test_a_prediction_never_depends_on_what_it_predicts(paradigm: Paradigm, lengths: torch.Tensor | None) -> None:
    if lengths is None or ragged(paradigm):
        assert leaks_of(paradigm, lengths) == []


class HidesNothing(Masked):
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        return replace(super().corrupt(tokens, generator, draws), hidden=None)


class SaysSo(HidesNothing):
    predicts_visible = True


class AddsNoNoise(MaskedDiffusion):
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        return replace(super().corrupt(tokens, generator, draws), values=tokens.values)


SEES_NEXT = Mask("sees_next", lambda q, k: k.rank <= q.rank + 1)


class Peeks(Autoregressive):
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        return replace(super().corrupt(tokens, generator, draws), mask=SEES_NEXT)


class PeeksAtFrames(FrameAutoregressive):
    def corrupt(self, tokens: Tokens, generator: Generator, draws: Draws) -> Corrupted:
        row = super().corrupt(tokens, generator, draws)
        return replace(row, values=tokens.values, hidden=None)


CHEATS = {
    "hides nothing": HidesNothing(),
    "hides nothing and says so": SaysSo(),
    "adds no noise": AddsNoNoise(corruption="uniform"),
    "sees the next": Peeks(),
    "is given the frame": PeeksAtFrames(),
}


@pytest.mark.parametrize("paradigm", CHEATS.values(), ids=CHEATS)
@torch.no_grad()
def test_a_cheat_is_found(paradigm: Paradigm) -> None:
    assert leaks_of(paradigm)

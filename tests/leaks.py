"""Law 1, as a function: what a paradigm lets a prediction know of its own answer, or of what is generated later."""

from dataclasses import replace

import torch
from torch import Tensor

from mmgen.core.draws import Draws
from mmgen.core.layout import Role
from mmgen.core.tokens import Tokens
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.paradigms import Paradigm
from mmgen.paradigms.base import Corrupted


def find_leaks(
    paradigm: Paradigm,
    model: Generator,
    tokens: Tokens,
    condition: Conditioning,
    draws: Draws,
) -> list[str]:
    """What is wrong, a line each; none for a paradigm that keeps the law.

    Each code of the tokens in turn gets another value. Where a target changes with it, the loss against the old target
    may not: it was computed without having seen the code. Where units are generated in order, neither may that of an
    earlier unit. A denoiser (a row with noise levels) sees its answer through noise: its noisy copy must differ from
    the tokens, and its clean copy of a unit may reach later units alone.

    Args:
        paradigm: which is tested, as far as its training row says it: its values, what is hidden, layout and mask.
        model: whose every weight is large, so that what is seen shows.
        tokens: B samples.
        condition: of them.
        draws: of them; the same corruption is drawn before and after a change.
    """
    row = paradigm.corrupt(tokens, model, draws)
    if paradigm.predicts_visible:
        row = _hidden_alone(row)
    if not bool((row.weights > 0).any()):
        return ["nothing is predicted"]
    find = _leaks_of_hiding if row.levels is None else _leaks_of_noise
    return find(paradigm, model, tokens, condition, draws, row)


def _leaks_of_hiding(
    paradigm: Paradigm, model: Generator, tokens: Tokens, condition: Conditioning, draws: Draws, row: Corrupted
) -> list[str]:
    leaks, flat = [], tokens.values.flatten(1)
    unit = _units(row)
    for code in range(flat.shape[1]):
        changed = flat.clone()
        changed[:, code] = (changed[:, code] + 5) % model.spec.alphabet
        other = paradigm.corrupt(replace(tokens, values=changed.view_as(tokens.values)), model, draws)
        other = _hidden_alone(other) if paradigm.predicts_visible else other
        if not torch.equal(other.weights, row.weights):
            leaks.append(f"code {code} decides what is predicted")
            continue
        answers = other.targets != row.targets
        blind = answers if answers.dim() == row.weights.dim() else answers.any(-1)
        if _in_order(row):
            least = torch.where(blind.flatten(2).any(-1) if blind.dim() == 3 else blind, unit, unit.max() + 1).amin(1)
            earlier = unit < torch.where(blind.flatten(1).any(1), least, unit.min())[:, None]
            blind = blind | (earlier[..., None] if blind.dim() == 3 else earlier)
        weights = row.weights * blind
        before = paradigm.loss(model, replace(row, weights=weights), condition)
        after = paradigm.loss(model, replace(other, targets=row.targets, weights=weights), condition)
        if not torch.equal(before, after):
            leaks.append(f"code {code} is seen where it is predicted, or before it is generated")
    return leaks


def _leaks_of_noise(
    paradigm: Paradigm, model: Generator, tokens: Tokens, condition: Conditioning, draws: Draws, row: Corrupted
) -> list[str]:
    assert row.levels is not None
    leaks, count, unit = [], row.targets.shape[1], _units(row)
    noisy, clean = row.values[:, -count:], row.values.shape[1] - count
    if noisy.shape == tokens.values.shape and torch.equal(noisy, tokens.values):
        leaks.append("the noisy copy is the tokens themselves")
    if not bool((row.levels[:, -count:] > 0).any()):
        leaks.append("the noisy copy has no noise")
    for position in range(clean):
        values = row.values.clone()
        one = values[:, position]
        values[:, position] = one + 1 if one.is_floating_point() else (one + 5) % model.spec.alphabet
        weights = row.weights * (unit <= unit[:, position, None])
        before, after = (
            paradigm.loss(model, replace(each, weights=weights), condition)
            for each in (row, replace(row, values=values))
        )
        if not torch.equal(before, after):
            leaks.append(f"clean position {position} is seen where it is denoised, or earlier")
    return leaks


def _hidden_alone(row: Corrupted) -> Corrupted:
    """The row, where visible positions predict nothing."""
    hidden = torch.zeros_like(row.weights, dtype=torch.bool) if row.hidden is None else row.hidden
    return replace(row, weights=row.weights * hidden[:, -row.weights.shape[1] :])


def _units(row: Corrupted) -> Tensor:
    """(B, K) unit of each prediction."""
    return row.layout.expand(len(row.values)).block[:, -row.targets.shape[1] :]


def _in_order(row: Corrupted) -> bool:
    """Whether no position sees a later unit, prefixes aside."""
    seen = row.mask.dense(row.layout, row.layout)[:, 0]
    unit, own = row.layout.block, row.layout.role != Role.PREFIX
    later = (unit[:, None, :] > unit[:, :, None]) & own[:, None, :] & own[:, :, None]
    return not bool((seen & later).any())

"""Blocks of a sound's continuous tokens after a text: the prefix is long, and has places in time."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.layout import Role
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.conditions import Conditioning
from mmgen.model.generator import Generator
from mmgen.paradigms import ContinuousBlockDiffusion, Flow, Guidance, Request, SampleOptions
from tests.worlds import condition_of, condition_values, draws, generator

SPEC = TokenSpec("continuous", 3, (25, 1, 1), modality="speech", rate=10.0, stride=4, first=4)
TEXT = Text("abc ", 6, pace=0.4)
LABELS = torch.tensor([0, 1, -1])
SAID = torch.tensor([[0, 1, 3, 2, 2, -1], [2, 2, 2, 2, 2, 2], [0, 0, -1, -1, -1, -1]])
ROPES = ["identity", "zero", "placed"]
STEPS = 2
PARADIGMS = {
    "complete": ContinuousBlockDiffusion(10, Flow(), steps=STEPS),
    "window": ContinuousBlockDiffusion(10, Flow("x0"), steps=STEPS, window=2),
    "corrupted": ContinuousBlockDiffusion(10, Flow(), steps=STEPS, history="corrupted", context_noise=0.1),
    "one": ContinuousBlockDiffusion(25, Flow(), steps=STEPS),
}
paradigms = pytest.mark.parametrize("paradigm", PARADIGMS.values(), ids=PARADIGMS)
ropes = pytest.mark.parametrize("rope", ROPES)


def speaker(rope: str = "placed") -> Generator:
    """A small generator in float64 in which everything influences everything."""
    options = {"rope": (1, 0, 0), "modulation": "adaln_shared", "rope_prefix": rope, "positions": "none"}
    return generator(SPEC, classes=2, text=TEXT, paradigm=PARADIGMS["one"], **options)


def latents(rows: int = 3, lengths: Tensor | None = None) -> Tokens:
    source = torch.Generator().manual_seed(0)
    return Tokens(torch.randn(rows, 25, 3, generator=source, dtype=torch.float64), SPEC.grid, lengths)


def last(paradigm: ContinuousBlockDiffusion, model: Generator, request: Request, scale: float = 1.0) -> Tensor:
    *_, state = paradigm.sample(model, request, SampleOptions(guidance=Guidance(scale)))
    assert state.committed.all()
    return state.tokens


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # diffusers' flow scheduler steps in float32


@ropes
@paradigms
@pytest.mark.parametrize("scale", [1.0, 2.5])
@torch.inference_mode()
def test_cached_sampling_equals_recomputation(paradigm: ContinuousBlockDiffusion, rope: str, scale: float) -> None:
    """Every pass, repeated without a cache: the text, the finished blocks as they were stored, and the noisy block."""
    model, seen, forward = speaker(rope), [], Generator.forward

    def record(values, layout, mask, condition, hidden, cache, store, outputs, added, modulation, *more):
        arguments = mask, condition, hidden, cache, store, outputs, added, modulation
        features = forward(model, values, layout, *arguments, *more)
        seen.append((values, layout, condition, outputs, modulation, features))
        return features

    model.forward = record
    request = Request(draws(3), conditions={"class": LABELS, "text": SAID})
    states = list(paradigm.sample(model, request, SampleOptions(guidance=Guidance(scale))))
    row = paradigm.row(model, SPEC.grid, draws(3))
    assert len(seen) == states[-1].forward_passes == STEPS * row.count
    assert row.bounds == ([0, 25] if paradigm is PARADIGMS["one"] else [0, 5, 15, 25])
    stored: list[tuple] = []
    for number, (values, layout, condition, outputs, modulation, features) in enumerate(seen):
        begin, end = row.bounds[number // STEPS], row.bounds[number // STEPS + 1]
        before = values.shape[1] - outputs
        assert outputs == end - begin and (layout.length - values.shape[1] == model.prefix_length) == (number == 0)
        if before:
            stored.append((values[:, :before], modulation[:, :before]))
        whole = torch.cat([v for v, _ in stored] + [values[:, before:]], dim=1)
        modulated = torch.cat([each for _, each in stored] + [modulation[:, before:]], dim=1)
        past = (row.clean if paradigm.history == "complete" else row.noisy).slice(0, begin)
        full = model.prefix + past + row.noisy.slice(begin, end)
        expected = forward(model, whole, full, paradigm.mask, condition, outputs=outputs, modulation=modulated)
        torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-9)


@ropes
@paradigms
def test_every_character_influences_every_block_and_no_other_row(paradigm: ContinuousBlockDiffusion, rope: str) -> None:
    model = speaker(rope)
    row = paradigm.corrupt(latents(), model, draws(3))
    plain = condition_of(model, LABELS, text=SAID)
    text = plain.prefix.detach().requires_grad_()
    features = paradigm.features(model, row, Conditioning(text, plain.vector))
    for position in (0, 4, 5, 14, 15, 24):
        (slope,) = torch.autograd.grad(features[1, position].square().sum(), text, retain_graph=True)
        assert slope[1].any(-1).all() and not slope[0].any() and not slope[2].any()


@ropes
@paradigms
@torch.inference_mode()
def test_text_and_voice_change_what_is_said(paradigm: ContinuousBlockDiffusion, rope: str) -> None:
    model = speaker(rope)

    def sampled(text: Tensor = SAID, labels: Tensor = LABELS, scale: float = 1.0) -> Tensor:
        return last(paradigm, model, Request(draws(3), conditions={"class": labels, "text": text}), scale)

    plain = sampled()
    for other in (sampled(SAID[[1, 1, 2]]), sampled(labels=LABELS[[1, 1, 2]])):
        assert not torch.isclose(plain[0], other[0]).all(-1).any() and torch.equal(plain[1:], other[1:])
    assert not torch.isclose(plain[0], sampled(scale=3.0)[0]).all(-1).any()
    silent = torch.full_like(SAID, -1)
    close(
        *(
            last(paradigm, model, Request(draws(3), conditions=condition_values(model, LABELS, text=text)))[2:]
            for text in (silent, None)
        )
    )


def test_characters_stand_where_their_sound_is_expected() -> None:
    """With `placed` positions a score depends on how far a token is from the place of a character: shift both, and
    nothing changes. With the others it does not depend on the character's place at all.
    """
    model = speaker()
    places = model.prefix.position[0, 1:, 0]
    assert (model.prefix.role == Role.PREFIX).all() and places.diff().unique().tolist() == [4]
    paradigm = PARADIGMS["complete"]
    row = paradigm.corrupt(latents(), model, draws(3))
    later = row.layout.but(position=row.layout.position + 100)
    text = torch.zeros_like(row.layout.position)
    text[:, 1 : model.prefix_length, 0] = 3
    shifted = row.layout.but(position=row.layout.position + text)

    def features(rope: str, layout):
        model = speaker(rope)
        return paradigm.features(model, replace(row, layout=layout), condition_of(model, LABELS, text=SAID))

    torch.testing.assert_close(features("placed", later), features("placed", row.layout), rtol=1e-6, atol=1e-8)
    assert not torch.allclose(features("placed", shifted), features("placed", row.layout))
    for rope in ("identity", "zero"):
        assert torch.equal(features(rope, shifted), features(rope, row.layout))

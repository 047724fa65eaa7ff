"""The generator: kinds of tokens, hidden positions, conditions."""

import pytest
import torch

from mmgen.backbone import Transformer
from mmgen.embeddings.bits import BitsEmbedding
from mmgen.embeddings.positions import AbsolutePositions
from mmgen.errors import UserError
from mmgen.generator import Generator
from mmgen.layout import grid_layout, prefix
from mmgen.masks import get_mask
from mmgen.tokens import Tokens, TokenSpec, unpack_bits
from tests.worlds import draws, generator

ROW = prefix(1) + grid_layout((1, 3, 3))


@pytest.mark.parametrize("spec", [TokenSpec("bits", 4, (1, 3, 3)), TokenSpec("categorical", 16, (1, 3, 3))])
def test_a_hidden_value_has_no_influence(spec: TokenSpec) -> None:
    model, mask = generator(spec), get_mask("bidirectional")
    values = torch.randint(0, 16, (2, 9), generator=torch.Generator().manual_seed(0))
    hidden = torch.arange(9).expand(2, 9) % 2 == 0
    condition = model.conditioning(torch.tensor([0, 2]))
    other = torch.where(hidden, 15 - values, values)
    assert torch.equal(model(values, ROW, mask, condition, hidden), model(other, ROW, mask, condition, hidden))


@pytest.mark.parametrize("positions", ["learned", "spatial", "sincos", "none"])
def test_every_token_position_and_label_counts(positions: str) -> None:
    spec = TokenSpec("categorical", 16, (1, 3, 3))
    model = Generator(spec, Transformer(dim=32, depth=1, heads=2), classes=3, positions=positions).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    values = torch.zeros(1, 9, dtype=torch.int64)
    mask = get_mask("bidirectional")
    outputs = [
        model(values, ROW, mask, model.conditioning(torch.tensor([label])), outputs=9) for label in (-1, 0, 1, 2)
    ]
    assert outputs[0].shape == (1, 9, 32)
    for i in range(4):
        for j in range(i):
            assert (outputs[i] - outputs[j]).abs().max() > 1e-3
    same = (outputs[0][:, :1] - outputs[0]).abs().amax((0, 2))
    assert (same[1:] > 1e-6).all()  # equal tokens at different places are told apart


def test_bits_unpack_most_significant_first() -> None:
    assert unpack_bits(torch.tensor([6]), 4).tolist() == [[False, True, True, False]]
    values = torch.arange(64)
    powers = 2 ** torch.arange(5, -1, -1)
    assert torch.equal((unpack_bits(values, 6) * powers).sum(-1), values)


def test_bits_cost_parameters_linear_in_bits() -> None:
    sizes = [sum(p.numel() for p in BitsEmbedding(bits, 16).parameters()) for bits in (18, 36)]
    assert sizes[1] - sizes[0] == 18 * 16


def test_condition_dropout_takes_its_share_of_rows_whole() -> None:
    model = generator(actions=4)
    labels, actions = torch.arange(3000) % 3, torch.arange(6000).view(3000, 2) % 4
    dropped, still = model.conditioning.drop(labels, actions, draws(3000))
    gone = dropped == -1
    assert torch.equal(dropped[~gone], labels[~gone]) and torch.equal(still[~gone], actions[~gone])
    assert bool((still[gone] == -1).all())
    assert abs(float(gone.double().mean()) - 0.1) < 0.02
    assert model.conditioning.drop(labels, None, draws(3000))[1] is None


def test_an_action_belongs_to_its_frame_and_a_prefix_to_none() -> None:
    model, actions = generator(actions=4), torch.tensor([[0, 3, -1], [2, 2, 1]])
    condition = model.conditioning(torch.tensor([0, 2]), actions)
    layout = prefix(1) + grid_layout((3, 1, 2))
    found = condition.at(layout)
    assert not found[:, 0].any()
    table = model.conditioning.frame.weight
    for frame in range(3):
        expected = table[actions[:, frame]]  # -1 is the last row: none
        assert torch.equal(found[:, 1 + 2 * frame], expected) and torch.equal(found[:, 2 + 2 * frame], expected)
    order = torch.stack([torch.arange(7), torch.arange(6, -1, -1)])
    moved = condition.at(layout.take(order))
    assert torch.equal(moved[0], found[0]) and torch.equal(moved[1], found[1].flip(0))
    part = condition.rows(torch.tensor([1]))
    assert torch.equal(part.at(layout), found[1:]) and torch.equal(part.vector, condition.vector[1:])
    with pytest.raises(UserError, match="trained without actions"):
        generator().conditioning(torch.tensor([0, 2]), actions)


@pytest.mark.parametrize("kind", ["learned", "spatial", "sincos"])
def test_positions_that_are_computed_or_shared_by_frames_do_not_run_out(kind: str) -> None:
    torch.manual_seed(0)
    positions = AbsolutePositions((2, 2, 3), 24, kind)
    layout = prefix(1) + grid_layout((2, 2, 3))
    found = positions(layout).expand(1, -1, -1)
    assert not found[:, 0].any() and len(found[0, 1:].unique(dim=0)) == (6 if kind == "spatial" else 12)
    longer = prefix(1) + grid_layout((5, 2, 3))
    if kind == "learned":
        with pytest.raises(IndexError):
            positions(longer)
    else:
        torch.testing.assert_close(positions(longer)[:, :13], found)


def test_bits_are_split_among_softmaxes_as_asked() -> None:
    spec = TokenSpec("bits", 12, (1, 1, 2))
    assert Generator(spec, Transformer(dim=16, depth=1, heads=2)).head.choices == 2**12
    head = Generator(spec, Transformer(dim=16, depth=1, heads=2), head_group=3).head
    assert (head.groups, head.choices) == (4, 8)
    with pytest.raises(UserError, match="head_group 2 is for binary tokens, and these are categorical"):
        Generator(TokenSpec("categorical", 12, (1, 1, 2)), Transformer(dim=16, depth=1, heads=2), head_group=2)
    with pytest.raises(UserError, match="groups of 5 bits do not divide a code of 12"):
        Generator(spec, Transformer(dim=16, depth=1, heads=2), head_group=5)


def test_rows_and_layouts_that_do_not_fit_are_refused() -> None:
    model = generator()
    with pytest.raises(UserError, match="fits neither"):
        model(torch.zeros(1, 5, dtype=torch.int64), ROW, get_mask("causal"), model.conditioning(torch.tensor([0])))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: TokenSpec("bit", 4, (1, 2, 2)), "did you mean 'bits'"),  # type: ignore[arg-type]
        (lambda: TokenSpec("bits", 63, (1, 2, 2)), "63 bits"),
        (lambda: TokenSpec("categorical", 4, (0, 2, 2)), "grid"),
        (lambda: Tokens(torch.zeros(1, 5), (1, 2, 2)), "do not fill"),
        (lambda: generator(TokenSpec("residual", 4, (1, 3, 3), levels=2)), "no embedding for 'residual'"),
    ],
)
def test_specs_that_cannot_be_are_refused(wrong, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        wrong()


def test_specs_survive_the_trip_to_plain_types() -> None:
    spec = TokenSpec("bits", 10, (1, 7, 7))
    assert TokenSpec.from_dict(spec.to_dict()) == spec and spec.bits_per_sample == 490


def test_specs_know_their_alphabet_and_raw_size() -> None:
    grid = (1, 2, 2)
    assert TokenSpec("bits", 10, grid).alphabet == TokenSpec("categorical", 1024, grid).alphabet == 1024
    assert TokenSpec("residual", 256, grid, levels=3).bits_per_sample == 4 * 3 * 8
    assert TokenSpec("continuous", 4, grid).bits_per_sample == float("inf")

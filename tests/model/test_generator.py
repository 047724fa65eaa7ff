"""The generator: kinds of tokens, hidden positions, conditions."""

from functools import partial

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.layout import Role, grid_layout, prefix
from mmgen.core.masks import get_mask
from mmgen.core.tokens import Tokens, TokenSpec, unpack_bits
from mmgen.model.embeddings.positions import AbsolutePositions
from mmgen.model.embeddings.tokens import BitsEmbedding
from mmgen.model.heads import BitsHead, CategoricalHead, HeadFactory, LinearHead, ResidualHead
from mmgen.paradigms import CodebookAutoregressive, SpanInfill
from tests.worlds import condition_of, generator

ROW = prefix(1) + grid_layout((1, 3, 3))


@pytest.mark.parametrize("positions", ["learned", "spatial", "sincos", "none"])
def test_every_token_position_and_label_counts(positions: str) -> None:
    spec = TokenSpec("categorical", 16, (1, 3, 3))
    model = generator(spec, positions=positions)
    values = torch.zeros(1, 9, dtype=torch.int64)
    mask = get_mask("bidirectional")
    outputs = [
        model(values, ROW, mask, condition_of(model, torch.tensor([label])), outputs=9) for label in (-1, 0, 1, 2)
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
    assert sizes[1] - sizes[0] == 18 * 2 * 16  # a vector for its sign, and one in place of it where it is hidden


@pytest.mark.parametrize("kind", ["learned", "spatial", "sincos"])
def test_positions_that_are_computed_or_shared_by_frames_do_not_run_out(kind: str) -> None:
    torch.manual_seed(0)
    positions = AbsolutePositions((2, 2, 3), 24, kind)
    layout = prefix(1) + grid_layout((2, 2, 3))
    actual = positions(layout).expand(1, -1, -1)
    assert not actual[:, 0].any() and len(actual[0, 1:].unique(dim=0)) == (6 if kind == "spatial" else 12)
    longer = prefix(1) + grid_layout((5, 2, 3))
    if kind == "learned":
        with pytest.raises(IndexError):
            positions(longer)
    else:
        torch.testing.assert_close(positions(longer)[:, :13], actual)


def test_bits_are_split_among_softmaxes_as_asked() -> None:
    spec = TokenSpec("bits", 12, (1, 1, 2))
    assert generator(spec).head.choices == 2**12
    head = generator(spec, head=partial(BitsHead, group=3)).head
    assert (head.groups, head.choices) == (4, 8)
    with pytest.raises(UserError, match="groups of 5 bits do not divide a code of 12"):
        generator(spec, head=partial(BitsHead, group=5))


@pytest.mark.parametrize(
    ("head", "own"),
    [(CategoricalHead, "categorical"), (BitsHead, "bits"), (ResidualHead, "residual"), (LinearHead, "continuous")],
)
def test_a_head_is_that_of_its_token_kind_and_refuses_others(head: HeadFactory, own: str) -> None:
    for kind in ("categorical", "bits", "residual", "continuous"):
        spec = TokenSpec(kind, 4, (1, 1, 2), levels=2 if kind == "residual" else 1)  # type: ignore[arg-type]
        if kind == own:
            assert type(generator(spec).head) is head
            continue
        with pytest.raises(UserError, match=f"is for .*, and these are {kind}"):
            generator(spec, head=head)


def test_rows_and_layouts_that_do_not_fit_are_refused() -> None:
    model = generator()
    with pytest.raises(UserError, match="fits neither"):
        model(torch.zeros(1, 5, dtype=torch.int64), ROW, get_mask("causal"), condition_of(model, torch.tensor([0])))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: TokenSpec("bit", 4, (1, 2, 2)), "did you mean 'bits'"),  # type: ignore[arg-type]
        (lambda: TokenSpec("bits", 63, (1, 2, 2)), "63 bits"),
        (lambda: TokenSpec("categorical", 4, (0, 2, 2)), "grid"),
        (lambda: Tokens(torch.zeros(1, 5), (1, 2, 2)), "do not fill"),
        (lambda: generator(paradigm=CodebookAutoregressive(ends=True)), "ends is for tokens of codebooks"),
    ],
)
def test_specs_that_cannot_be_are_refused(wrong, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        wrong()


def test_specs_know_their_alphabet_and_raw_size() -> None:
    grid = (1, 2, 2)
    assert TokenSpec("bits", 10, grid).alphabet == TokenSpec("categorical", 1024, grid).alphabet == 1024
    assert TokenSpec("residual", 256, grid, levels=3).bits_per_sample == 4 * 3 * 8
    assert TokenSpec("continuous", 4, grid).bits_per_sample == float("inf")


RESIDUAL = TokenSpec("residual", 16, (9, 1, 1), levels=3, modality="speech", rate=50.0, stride=320, first=320)


def test_nats_of_a_residual_token_are_the_sum_over_its_levels() -> None:
    head = generator(RESIDUAL).head
    features = torch.randn(2, 9, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, 16, (2, 9, 3), generator=torch.Generator().manual_seed(1))
    logits = head.logits(features)
    assert logits.shape == (2, 9, 3, 16)
    expected = -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    assert torch.allclose(head.nats_by_group(features, targets), expected)
    assert torch.allclose(head.nats(features, targets), expected.sum(-1))


def test_the_expected_embedding_of_a_sure_prediction_is_that_of_its_codes() -> None:
    embedding = generator(RESIDUAL).embedding
    values = torch.randint(0, 16, (2, 9, 3), generator=torch.Generator().manual_seed(0))
    sure = torch.nn.functional.one_hot(values, 17).double()
    assert torch.allclose(embedding.expected(sure), embedding(values))


def test_a_sentinel_marks_its_place_which_holds_no_token() -> None:
    paradigm = SpanInfill(most=2)
    model = generator(RESIDUAL, paradigm=paradigm)
    body, hidden = grid_layout((9, 1, 1)), (torch.arange(9) == 4).expand(1, 9)
    role, segment = body.role.clone(), body.segment.clone()
    role[:, 4], segment[:, 4] = Role.SENTINEL, 1
    marks = paradigm.marks(model, body.but(role=role, segment=segment))
    assert torch.equal(marks[0, 4], model.parts["sentinel"].weight[1])  # type: ignore[arg-type]
    assert torch.equal(marks.any(-1), hidden)
    second = paradigm.marks(model, body.but(role=role, segment=segment * 0))
    layout, mask, condition = prefix(1) + body, get_mask("bidirectional"), condition_of(model, torch.tensor([0]))
    values = torch.zeros(1, 9, 3, dtype=torch.int64)
    actual, other, moved = (
        model(each, layout, mask, condition, hidden, added=added)
        for each, added in ((values, marks), (values + 7 * hidden[..., None], marks), (values, second))
    )
    assert torch.equal(actual, other) and (actual - moved).abs().max() > 1e-3

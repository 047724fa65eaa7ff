"""Generation in an announced order: what is hidden leaks nothing, the mask is that of BAD at every step, and what is
drawn follows the model's own law."""

import itertools
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Role
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.generator import Generator
from mmgen.paradigms import Decoding, Masked, Permuted, Request, SampleOptions, State
from tests.worlds import condition_of, condition_values, draws, generator

KINDS = {
    "codes": TokenSpec("categorical", 5, (7, 1, 1)),
    "bits": TokenSpec("bits", 14, (7, 1, 1)),  # two groups of the head
    "levels": TokenSpec("residual", 5, (7, 1, 1), levels=3),
}
LABELS = torch.tensor([0, 1, 2, -1, 0])
LENGTHS = torch.tensor([7, 3, 5, 1, 7])
RANDOM = Decoding(order="random")
kinds = pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS)


def made(spec: TokenSpec, **options: object) -> Generator:
    return generator(spec, positions="none", rope=(1, 0, 0), **options)  # type: ignore[arg-type]


def tokens(spec: TokenSpec, rows: int = 5, lengths: Tensor | None = None, seed: int = 0) -> Tokens:
    shape = (rows, 7, spec.levels) if spec.kind == "residual" else (rows, 7)
    values = torch.randint(0, spec.alphabet, shape, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, spec.grid, lengths)


def sample(model: Generator, options: SampleOptions | None = None, paradigm: Permuted | None = None, **more: object):
    labels = more.pop("labels", LABELS)
    keys = more.pop("draws", draws(len(labels)))  # type: ignore[arg-type]
    with torch.inference_mode():
        return list(
            (paradigm or Permuted()).sample(
                model, Request(keys, **more, conditions=condition_values(model, labels)), options or SampleOptions()
            )
        )  # type: ignore[arg-type]


def by_level(x: Tensor) -> Tensor:
    return x if x.dim() == 3 else x[..., None]


# Training rows.


def test_hidden_counts_ranks_and_weights_are_those_of_the_paper() -> None:
    count, spec = 4000, KINDS["codes"]
    lengths = torch.tensor([4, 7]).repeat(count // 2)
    row = Permuted(few=0.1).corrupt(tokens(spec, count, lengths), made(spec), draws(count))
    real = torch.arange(7) < lengths[:, None]
    rank = row.layout.rank[:, 1:]
    assert row.hidden is not None and not row.hidden[~real].any()
    torch.testing.assert_close(row.weights, real / lengths[:, None].double())
    for length in (4, 7):
        ranks, hidden = rank[lengths == length][:, :length], row.hidden[lengths == length][:, :length]
        assert torch.equal(ranks.sort(1).values, torch.arange(length).expand(len(ranks), -1))
        numbers = hidden.sum(1)
        assert numbers.min() == 1 and numbers.max() == length
        share = torch.arange(1, 20_000) / 20_000 / 2  # of rows of which few are hidden; of the others, 0.5 more
        law = sum(
            weight * (part * length).round().clamp_min(1).long().bincount(minlength=length + 1) / len(part)
            for weight, part in ((0.1, share), (0.9, share + 0.5))
        )
        assert (numbers.bincount(minlength=length + 1) / len(numbers) - law).abs().max() < 0.04
        # Which ranks are hidden is independent of which positions are: as many early ones as late ones.
        early = (ranks < length / 2)[hidden].double().mean()
        assert abs(float(early) - (length + 1) // 2 / length) < 0.03
    assert torch.equal(row.layout.role[:, 1:] == Role.NOISY, row.hidden)
    assert (row.layout.role[:, 0] == Role.PREFIX).all()


@kinds
def test_the_mask_of_a_row_is_that_of_the_paper(spec: TokenSpec) -> None:
    row = Permuted().corrupt(tokens(spec, 8, torch.tensor([7, 3, 5, 1, 7, 6, 4, 2])), made(spec), draws(8))
    layout = row.layout
    seen = row.mask.dense(layout, layout)[:, 0]
    for b, (q, k) in itertools.product(range(8), itertools.product(range(8), repeat=2)):
        if layout.document[b, q] != layout.document[b, k]:
            expected = False
        elif k == 0 or q == 0:
            expected = k == 0  # the condition sees itself alone
        else:
            masked = [int(layout.role[b, n]) == Role.NOISY for n in (q, k)]
            expected = not masked[1] or (masked[0] and int(layout.rank[b, k]) >= int(layout.rank[b, q]))
        assert bool(seen[b, q, k]) == expected


@kinds
def test_a_mask_token_reaches_those_alone_that_come_before_it(spec: TokenSpec) -> None:
    """Through all layers: what a clean position sees holds no mask token, what a hidden one sees none of lower rank."""
    model, x, marks = made(spec), tokens(spec), []
    model.parts["rank"].register_forward_hook(
        lambda module, inputs, out: marks.append(out.detach().requires_grad_()) or marks[-1]
    )
    row = Permuted().corrupt(x, model, draws(5))
    features = Permuted().features(model, row, condition_of(model, LABELS))
    hidden, rank = row.layout.role[:, 1:] == Role.NOISY, row.layout.rank[:, 1:]
    assert hidden.any()
    for position in range(7):
        (gradient,) = torch.autograd.grad(features[:, position].sum(), marks[0], retain_graph=True)
        expected = hidden & hidden[:, position, None] & (rank >= rank[:, position, None])
        assert torch.equal(gradient.any(-1), expected)


@kinds
def test_mistakes_are_seen_in_training_alone_and_never_asked_for(spec: TokenSpec) -> None:
    count = 400
    model, x, keys = made(spec), tokens(spec, count), draws(count)
    plain = Permuted(token_noise=0).corrupt(x, model, keys)
    for training in (True, False):
        model.train(training)
        row = Permuted(token_noise=0.6).corrupt(x, model, keys)
        assert torch.equal(row.targets, x.values) and torch.equal(row.weights, plain.weights)
        assert torch.equal(row.hidden, plain.hidden)  # type: ignore[arg-type]
        shares = (row.values != x.values).flatten(1).double().mean(1)
        expected = 0.3 * (1 - 1 / spec.alphabet) if training else 0.0
        assert float(shares.mean()) == pytest.approx(expected, abs=0.03)
        assert not training or (float(shares.min()) < 0.05 and float(shares.max()) > 0.45)  # each row has its own
        assert int(row.values.min()) >= 0 and int(row.values.max()) < spec.alphabet


def test_one_level_of_each_row_is_asked_for() -> None:
    spec, count = KINDS["levels"], 600
    row = Permuted(coarse=1.0).corrupt(tokens(spec, count), made(spec), draws(count))
    assert row.hidden is not None
    level = (row.weights > 0).any(1)
    assert torch.equal(level.sum(1), torch.ones(count, dtype=torch.int64))
    shares = level.double().mean(0)
    assert (shares - torch.tensor([3, 2, 1]) / 6).abs().max() < 0.07  # over three standard deviations
    torch.testing.assert_close(row.weights.sum((1, 2)), (1 / (torch.tensor([3, 2, 1]) / 6).double() @ level.double().T))
    for q in range(3):
        rows = level[:, q]
        assert not row.hidden[rows][..., :q].any() and row.hidden[rows][..., q + 1 :].all()
        noisy = (row.layout.role[rows][:, 1:] == Role.NOISY) == row.hidden[rows][..., 0]
        assert noisy.all() and row.hidden[rows][..., q].any()
        assert (row.weights[rows][..., q] > 0).all() == (q == 0)  # of the first, what is visible is asked for too


# The likelihood.


# Samples.


def test_samples_follow_the_law_of_the_network() -> None:
    """In the announced order: the mean over all orders of the product of what the network says at each turn."""
    spec, count = TokenSpec("categorical", 2, (3, 1, 1)), 6000
    model, states = made(spec, classes=0), torch.tensor(list(itertools.product(range(2), repeat=3)))
    law = torch.zeros(8, dtype=torch.float64)
    row = Permuted().corrupt(Tokens(states, spec.grid), model, draws(8))
    condition = condition_of(model, torch.full((8,), -1))
    with torch.inference_mode():
        for order in itertools.permutations(range(3)):  # order[n] is the rank of position n
            nats = torch.zeros(8, dtype=torch.float64)
            for turn in range(3):
                hidden = torch.tensor(order)[None].expand(8, -1) >= turn
                role = torch.where(hidden, Role.NOISY, Role.CLEAN)
                rank = torch.tensor([-1, *order]).expand(8, -1)
                prefix = torch.full((8, 1), Role.PREFIX)
                layout = row.layout.but(rank=rank, role=torch.cat([prefix, role], dim=1))
                features = Permuted().features(model, replace(row, layout=layout, hidden=hidden), condition)
                nats += model.head.nats(features, states)[:, order.index(turn)]
            law += (-nats).exp() / 6
    torch.testing.assert_close(law.sum(), torch.tensor(1.0, dtype=torch.float64))
    options = SampleOptions(steps=3, decoding=RANDOM)
    last = sample(model, options, labels=torch.full((count,), -1), draws=draws(count))[-1]
    actual = (last.tokens * torch.tensor([4, 2, 1])).sum(1).bincount(minlength=8)
    assert float(((actual - law * count) ** 2 / (law * count)).sum()) < chi2.ppf(1 - 1e-4, 7)


@kinds
@pytest.mark.parametrize("order", ["random", "confidence"])
def test_every_pass_announces_one_order_of_what_is_open(spec: TokenSpec, order: str) -> None:
    """Hidden is what is not yet there, the ranks stay those among the holes, and the mask follows both at each step."""
    model, seen = made(spec), []
    plain = Generator.forward

    def record(values, layout, mask, condition, hidden, *rest, **named):
        seen.append((values, layout, mask, hidden))
        return plain(model, values, layout, mask, condition, hidden, *rest, **named)

    model.forward = record  # type: ignore[method-assign]
    keep = torch.zeros(5, 7, dtype=torch.bool)
    keep[:, 2:4], keep[0] = True, True
    options = SampleOptions(steps=3, decoding=Decoding(order=order))  # type: ignore[arg-type]
    states = sample(model, options, known=tokens(spec, seed=1).values, keep=keep)
    assert len(seen) == states[-1].forward_passes == len(states) - 1
    rank = seen[0][1].rank[:, 1:]
    for row in range(1, 5):
        assert torch.equal(rank[row][~keep[row]].sort().values, torch.arange(5))
    for (values, layout, mask, hidden), before in zip(seen, states, strict=False):
        unknown = ~keep & ~before.filled if before.step else ~keep
        if before.block == 0 and (layout.role == Role.NOISY).any():
            assert torch.equal(layout.rank[:, 1:], rank) and mask.name == "permuted"
            assert torch.equal(layout.role[:, 1:] == Role.NOISY, unknown)
            assert torch.equal(by_level(hidden)[..., 0], unknown)
            assert torch.equal(values[~hidden], before.tokens[~hidden])
        else:  # of finer levels all positions are visible
            assert not (layout.role == Role.NOISY).any() and not hidden[..., 0].any()
    if order == "random":  # lower ranks come first
        for state in states[1:4]:
            revealed = (state.filled & ~keep)[1:]
            last, first = (
                rank[1:].masked_fill(~revealed, -1).amax(1),
                rank[1:].masked_fill(revealed | keep[1:], 7).amin(1),
            )
            assert (last < first).all()


def test_what_is_revealed_stays_and_finer_levels_follow() -> None:
    spec = KINDS["levels"]
    states: list[State] = sample(made(spec), paradigm=Permuted(steps=(3, 2)))
    assert [state.block for state in states[1:]] == [0, 0, 0, 1, 1, 2, 2]
    assert [state.step for state in states] == list(range(8))
    for before, after in zip(states, states[1:], strict=False):
        assert (after.committed | ~before.committed).all() and (after.filled | ~before.filled).all()
        first = before.filled & (before.tokens[..., 0] != after.tokens[..., 0])
        assert not first.any()
    one_level = sample(made(KINDS["codes"]), SampleOptions(steps=4))
    assert [int(state.committed[0].sum()) for state in one_level] == [0, 1, 3, 5, 7]  # as the cosine says


# Parts and mistakes.


def test_ranks_mark_hidden_positions_alone() -> None:
    spec = KINDS["codes"]
    model, x = made(spec), tokens(spec)
    row = Permuted().corrupt(x, model, draws(5))
    outputs = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: outputs.append(inputs[0]))
    for layout in (row.layout, row.layout.but(rank=row.layout.rank + 1)):
        Permuted().features(model, replace(row, layout=layout), condition_of(model, LABELS))
    assert torch.equal((outputs[0] != outputs[1]).any(-1)[:, 1:], row.hidden)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"few": 2.0}, "few"),
        ({"token_noise": -1.0}, "token_noise"),
        ({"steps": ()}, "steps"),
        ({"coarse": -1.0}, "coarse"),
    ],
)
def test_wrong_options_are_refused(options: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Permuted(**options)


def test_what_cannot_work_is_refused() -> None:
    for spec, reason in ((KINDS["codes"], "needs its part 'rank'"), (TokenSpec("continuous", 4, (7, 1, 1)), "Block")):
        model = generator(spec, paradigm=Masked(), positions="none")
        with pytest.raises(UserError, match=reason):
            list(Permuted().sample(model, Request(draws(5), conditions={"class": LABELS}), SampleOptions()))
    with pytest.raises(UserError, match="mode 'diffusion'"):
        sample(made(KINDS["codes"]), SampleOptions(decoding=Decoding(remask="cap")))

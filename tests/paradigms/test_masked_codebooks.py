"""Masked generation over codebooks against a perfect model of an enumerable world, and with a network."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.layout import prefix
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Conditions
from mmgen.model.generator import Generator
from mmgen.model.heads import ResidualHead
from mmgen.paradigms import Decoding, Guidance, Masked, MaskedCodebooks, Mixture, Request, SampleOptions
from mmgen.paradigms.masked.codebooks import Spans
from tests.worlds import SPECS, World, condition_of, conditions, draws, generator, tokens_for

FRAMES, LEVELS = 2, 2
SPEC = TokenSpec("residual", 5, (7, 1, 1), levels=3, modality="speech", rate=10.0, stride=4, first=4)
TEXT = Text("abc ", 4, pace=0.2)
LABELS = torch.tensor([0, 1, 2, -1, 0])
SAID = torch.tensor([[0, 1, -1, -1], [2, 2, 2, 2], [0, -1, -1, -1], [-1, -1, -1, -1], [1, 3, 1, -1]])
LENGTHS = torch.tensor([7, 3, 5, 1, 7])
RANDOM = Decoding(order="random")
OPTIONS = {
    "plain": SampleOptions(),
    "guided": SampleOptions(steps=3, guidance=Guidance(2.5, "linear"), decoding=Decoding(temperature=0.8, top_k=3)),
    "threshold": SampleOptions(decoding=Decoding(select="threshold", threshold=0.3)),
    "entropy": SampleOptions(decoding=Decoding(select="entropy_bound", entropy_bound=2.0, order="entropy")),
    "margin": SampleOptions(guidance=Guidance(1.5), decoding=Decoding(order="margin", top_p=0.9)),
}
KINDS = {
    "plain": MaskedCodebooks(steps=(4, 2)),
    "spans": MaskedCodebooks(steps=(2,), span=3),
    "near": MaskedCodebooks(steps=(3, 1), context=1, greedy=1),
}
kinds = pytest.mark.parametrize("paradigm", KINDS.values(), ids=KINDS)


class CodeWorld(World):
    """Two frames of two levels of binary codes; row n of `states` holds both codes of the first frame first."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(2, FRAMES * LEVELS, seed)
        self.spec = TokenSpec("residual", 2, (FRAMES, 1, 1), levels=LEVELS, modality="speech")

    @property
    def entropy(self) -> float:
        """Nats per token, of two codes."""
        return float(torch.special.entr(self.law).sum()) / FRAMES

    @property
    def tokens(self) -> Tokens:
        """Every state once."""
        return Tokens(self.states.view(-1, FRAMES, LEVELS), self.spec.grid)


class CodeOracle:
    """Looks like a generator. Its features are the logarithms of the exact law of each code given the visible ones."""

    prefix, prefix_length, classes, actions, text = prefix(1), 1, 0, 0, None
    backbone = Transformer(dim=8, depth=1, heads=2)  # made ready, and never called
    training, parts = False, {"rank": lambda rank: rank[..., None] * 0.0}

    def __init__(self, world: CodeWorld) -> None:
        self.spec, self.law, self.states = world.spec, world.law, world.states
        self.head = ResidualHead(world.spec, 1)
        self.conditions = Conditions({}, 1, start=True)
        self.head.logits = lambda features: features

    def require_grid(self, grid: tuple[int, int, int]) -> None:
        assert grid == self.spec.grid

    def parameters(self):
        yield torch.zeros(())

    def __call__(self, values, layout, mask, condition, hidden=None, cache=None, store=None, outputs=None, added=None,
                 modulation=None, backbone=None) -> Tensor:  # fmt: skip
        assert layout.length == FRAMES + 1 and outputs == FRAMES
        fits = (values.flatten(1)[:, None] == self.states) | hidden.flatten(1)[:, None]
        weight = fits.all(-1) * self.law
        one_hot = nn.functional.one_hot(self.states, 2).double()
        laws = torch.einsum("bs,snv->bnv", weight, one_hot) / weight.sum(1)[:, None, None]
        return laws.log().clamp_min(-200).view(*values.shape, 2)


def spoken(seed: int = 0) -> Generator:
    """A small generator of SPEC with classes and text, in which everything influences everything."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Transformer(dim=32, depth=2, heads=2, rope=(1, 0, 0), modulation="none")
        model = Generator(SPEC, backbone, conditions(SPEC, backbone.dim, 3, text=TEXT), "none").double().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


def codes(rows: int = 5, seed: int = 0, lengths: Tensor | None = None) -> Tokens:
    source = torch.Generator().manual_seed(seed)
    return Tokens(torch.randint(0, 5, (rows, 7, 3), generator=source), SPEC.grid, lengths)


def asked(rows: int = 5, **more) -> Request:
    return Request(draws(rows), **more, conditions={"class": LABELS[:rows], "text": SAID[:rows]})


# The bound


def expected_loss(paradigm: MaskedCodebooks, model, world: CodeWorld, chance: list[float]) -> float:
    """The mean over all data and all corruptions, each of which `corrupt` must draw as often as it should."""
    count = 4000
    zeros = Tokens(torch.zeros(count, FRAMES, LEVELS, dtype=torch.int64), world.spec.grid)
    row = paradigm.corrupt(zeros, model, draws(count))
    each, which = torch.unique(row.hidden.flatten(1).long(), dim=0, return_inverse=True)
    drawn = row.weights.max(1).values.argmax(1)  # the level
    wanted = {(0, 1, 1, 1): chance[0] / 4, (1, 1, 0, 1): chance[0] / 4, (1, 1, 1, 1): chance[0] / 2}
    wanted |= {(0, 0, 0, 1): chance[1] / 4, (0, 1, 0, 0): chance[1] / 4, (0, 1, 0, 1): chance[1] / 2}
    assert {tuple(hidden) for hidden in each.tolist()} == set(wanted)
    law = torch.tensor([wanted[tuple(hidden)] for hidden in each.tolist()], dtype=torch.float64)
    statistic = float(((which.bincount() - law * count) ** 2 / (law * count)).sum())
    assert statistic < chi2.ppf(1 - 1e-4, len(law) - 1)
    total, x = 0.0, world.tokens
    condition = condition_of(model, torch.full((len(x),), -1))
    for number, probability in enumerate(law):
        first = int((which == number).nonzero()[0, 0])
        (weights,) = row.weights[which == number].unique(dim=0)
        assert (weights.sum(0)[drawn[first]] - 1 / chance[int(drawn[first])]).abs() < 1e-12  # 1 by level, in the mean
        same = replace(
            row,
            values=x.values,
            targets=x.values,
            hidden=row.hidden[first].expand(len(x), -1, -1),
            weights=row.weights[first].expand(len(x), -1, -1),
        )
        with torch.inference_mode():
            total += float(probability * (world.law * paradigm.loss(model, same, condition)).sum())
    return total


@pytest.mark.parametrize(("coarse", "chance"), [(0.0, [1 / 2, 1 / 2]), (1.0, [2 / 3, 1 / 3]), (2.0, [0.8, 0.2])])
def test_the_bound_is_the_entropy_for_a_perfect_model_and_more_for_others(coarse: float, chance: list[float]) -> None:
    world, paradigm = CodeWorld(), MaskedCodebooks("linear", coarse=coarse)
    assert abs(expected_loss(paradigm, CodeOracle(world), world, chance) - world.entropy) < 1e-12
    other = CodeOracle(CodeWorld(seed=1))
    assert expected_loss(paradigm, other, world, chance) > world.entropy + 0.1
    assert expected_loss(paradigm, generator(world.spec, classes=0), world, chance) > world.entropy


def test_the_bound_is_linear_and_without_a_prompt_whatever_training_is() -> None:
    model, x = spoken(), codes(lengths=LENGTHS)
    condition = condition_of(model, LABELS, text=SAID)
    trained = MaskedCodebooks("cosine", prompt=1.0, span=2)
    (plain,) = MaskedCodebooks("linear", span=2).losses(model, x, condition, draws(5)).values()
    assert torch.equal(trained.bound(model, x, condition, draws(5)), plain.double())
    (loss,) = trained.losses(model, x, condition, draws(5)).values()
    assert not torch.equal(loss, plain)


# Training rows


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@kinds
def test_coarser_levels_are_seen_and_finer_ones_are_not(paradigm: MaskedCodebooks, lengths: Tensor | None) -> None:
    count = 200
    lengths = None if lengths is None else lengths.repeat(count // 5)
    row = paradigm.corrupt(codes(count, lengths=lengths), spoken(), draws(count))
    real = torch.arange(7) < (torch.full((count,), 7) if lengths is None else lengths)[:, None]
    level = row.weights.amax(1).argmax(1)
    assert level.unique().tolist() == [0, 1, 2]
    for hidden, weights, q, here in zip(row.hidden, row.weights, level, real):
        assert not hidden[:, :q].any() and not hidden[~here].any() and hidden[here, q + 1 :].all()
        assert ((weights > 0) == hidden & (torch.arange(3) == q)).all() and hidden[:, q].any()
        if paradigm.span == 1:
            torch.testing.assert_close(weights.sum(), torch.tensor(3.0, dtype=torch.float64))
        else:  # whole spans, of which the last one is shorter
            ends = [hidden[begin : begin + 3, q][here[begin : begin + 3]] for begin in (0, 3, 6)]
            assert all(bool(part.all()) or not part.any() for part in ends)


@kinds
def test_hidden_codes_have_no_influence(paradigm: MaskedCodebooks) -> None:
    """Change any of them, and no bit of any feature may change; of visible ones, each matters to something."""
    model, x = spoken(), codes()
    row = paradigm.corrupt(x, model, draws(5))
    condition = condition_of(model, LABELS, text=SAID)

    def features(values: Tensor) -> Tensor:
        return model(values, row.layout, row.mask, condition, row.hidden, outputs=7)

    before = features(x.values)
    assert torch.equal(features(torch.where(row.hidden, (x.values + 2) % 5, x.values)), before)
    for position in range(7):
        for level in range(3):
            changed = x.values.clone()
            changed[:, position, level] = (changed[:, position, level] + 2) % 5
            other = (features(changed) != before).flatten(1).any(1)
            assert torch.equal(other, ~row.hidden[:, position, level])


def test_no_gradient_reaches_a_code_that_is_hidden() -> None:
    spec = replace(SPEC, size=200)
    model = generator(spec, classes=3, rope=(1, 0, 0))
    values = torch.arange(4 * 7)[:, None].expand(-1, 3).reshape(4, 7, 3)  # every position has codes of its own
    paradigm = MaskedCodebooks()
    row = paradigm.corrupt(Tokens(values, spec.grid), model, draws(4))
    paradigm.loss(model, row, condition_of(model, LABELS[:4])).sum().backward()
    touched = model.embedding.table.weight.grad.view(3, 201, -1).any(-1)[:, :28]
    assert torch.equal(touched, ~row.hidden.reshape(28, 3).T)


def test_a_prompt_is_seen_at_all_levels_and_asks_for_nothing() -> None:
    count, lengths = 3000, torch.tensor([4, 7]).repeat(1500)
    row = MaskedCodebooks("linear", prompt=0.5).corrupt(codes(count, lengths=lengths), spoken(), draws(count))
    coarse = row.weights[..., 0].sum(1) > 0
    hidden, length = row.hidden[coarse], lengths[coarse]
    begin = (~hidden[..., 1]).int().cumprod(1).sum(1)
    for n, position in enumerate(range(7)):
        beyond = position >= begin  # behind the prompt: all of the finer levels is hidden
        assert torch.equal(hidden[:, n, 2], beyond & (position < length))
        assert not hidden[~beyond, n].any()
    for n in (4, 7):
        share = begin[length == n].bincount(minlength=n).double() / (length == n).sum()
        assert len(share) == n and (share[1:] - 0.5 / n).abs().max() < 0.05
        assert abs(float(share[0]) - 0.5 - 0.5 / n) < 0.08  # no prompt, or one of no length
    torch.testing.assert_close(row.weights[..., 0].sum(1)[coarse], torch.full((len(hidden),), 3.0).double())


# Samples


@pytest.mark.parametrize("steps", [(2,), (2, 2)])
@torch.inference_mode()
def test_one_code_a_step_follows_the_true_law(steps: tuple[int, ...]) -> None:
    world, count = CodeWorld(), 6000
    request = Request(draws(count))
    options = SampleOptions(decoding=RANDOM)
    *_, last = MaskedCodebooks(steps=steps).sample(CodeOracle(world), request, options)
    expected = world.law * count
    statistic = float(((world.histogram(last.tokens.flatten(1)) - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-4, len(expected) - 1)
    assert last.forward_passes == 4


@torch.inference_mode()
def test_a_whole_level_at_once_draws_its_codes_independently() -> None:
    """Given coarser levels, so that what is left is the price of one step, and known exactly."""
    world, count = CodeWorld(), 6000
    request = Request(draws(count))
    *_, last = MaskedCodebooks(steps=(1,)).sample(CodeOracle(world), request, SampleOptions(decoding=RANDOM))
    joint = world.law.view(2, 2, 2, 2)  # first frame's codes, then the second's
    coarse = joint.sum((1, 3))
    fine = joint / coarse[:, None, :, None]
    law = coarse.sum(1)[:, None, None, None] * coarse.sum(0)[None, None, :, None]
    expected = (law * fine.sum(3, keepdim=True) * fine.sum(1, keepdim=True)).flatten() * count
    statistic = float(((world.histogram(last.tokens.flatten(1)) - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(1 - 1e-4, len(expected) - 1)
    assert last.forward_passes == 2


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@kinds
@torch.inference_mode()
def test_a_ragged_batch_equals_each_row_alone(paradigm: MaskedCodebooks, options: SampleOptions) -> None:
    model = spoken()
    *_, together = paradigm.sample(model, asked(lengths=LENGTHS), options)
    assert together.committed.all()
    for row in range(5):
        one = torch.tensor([row])
        alone = Request(draws(5).rows(one), LENGTHS[one], conditions={"class": LABELS[one], "text": SAID[one]})
        *_, last = paradigm.sample(model, alone, options)
        length = int(LENGTHS[row])
        assert torch.equal(last.tokens[0, :length], together.tokens[row, :length])


@kinds
@torch.inference_mode()
def test_every_pass_sees_what_training_shows(paradigm: MaskedCodebooks) -> None:
    """Coarser levels as they are, the level's own revealed codes, and nothing finer; with the layout of training."""
    model, seen, forward = spoken(), [], Generator.forward

    def record(values, layout, mask, condition, hidden, *rest, **named):
        seen.append((values, layout, mask, hidden))
        return forward(model, values, layout, mask, condition, hidden, *rest, **named)

    model.forward = record
    states = list(paradigm.sample(model, asked(), SampleOptions(decoding=RANDOM)))
    levels = [state.block for state in states[1:]]
    trained = paradigm.corrupt(codes(), spoken(), draws(5))
    assert len(seen) == states[-1].forward_passes == len(states) - 1 and levels == sorted(levels)
    for (values, layout, mask, hidden), before, level in zip(seen, states, levels):
        assert not hidden[..., :level].any() and hidden[..., level + 1 :].all() and hidden[..., level].any()
        assert torch.equal(values[~hidden], before.tokens[~hidden])
        q = trained.weights.amax(1).argmax(1)
        rows = layout.expand(5)
        used = paradigm.mask.dense(rows, rows)
        shown = trained.mask.dense(trained.layout, trained.layout).expand(5, -1, -1, -1)
        assert mask is paradigm.mask and all(torch.equal(used[n], shown[n]) for n in range(5) if q[n] == level)


@kinds
@torch.inference_mode()
def test_kept_positions_survive_and_committed_ones_never_change(paradigm: MaskedCodebooks) -> None:
    model, known = spoken(), codes(seed=1).values
    keep = torch.zeros(5, 7, dtype=torch.bool)
    keep[:, :2], keep[:, 4], keep[0] = True, True, True  # a prompt and a hole, and a row that is given whole
    states = list(paradigm.sample(model, asked(known=known, keep=keep), SampleOptions()))
    assert torch.equal(states[-1].tokens[keep], known[keep]) and states[-1].committed.all()
    for before, after in zip(states, states[1:]):
        assert (after.committed | ~before.committed).all() and (after.drafted | ~(before.shown)).all()
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        first = before.shown & (before.tokens[..., 0] != after.tokens[..., 0])
        assert not first.any()  # what is drafted has its coarsest code
    (whole,) = paradigm.sample(model, asked(known=known, keep=torch.ones_like(keep)), SampleOptions())
    assert torch.equal(whole.tokens, known) and whole.forward_passes == 0
    other = torch.where(keep[..., None], (known + 1) % 5, known)
    *_, last = paradigm.sample(model, asked(known=other, keep=keep), SampleOptions())
    assert not torch.equal(last.tokens[1:][~keep[1:]], states[-1].tokens[1:][~keep[1:]])  # the prompt matters


@torch.inference_mode()
def test_steps_are_counted_by_level_and_the_first_can_be_asked_for() -> None:
    model = spoken()
    for steps, asked_for, passes in (((4, 2, 1), None, 7), ((4, 2), None, 8), ((4, 2), 6, 10), ((9,), 99, 21)):
        options = SampleOptions(steps=asked_for, decoding=RANDOM)
        states = list(MaskedCodebooks("linear", steps=steps).sample(model, asked(), options))
        assert states[-1].forward_passes == passes, (steps, asked_for)


@torch.inference_mode()
def test_whole_spans_are_revealed() -> None:
    states = list(MaskedCodebooks("linear", steps=(3,), span=3).sample(spoken(), asked(), SampleOptions()))
    assert len(states) == 10
    for state in states[1:4]:  # of the first level
        first = state.drafted
        assert torch.equal(first[:, 0:3], first[:, :1].expand(-1, 3)) and torch.equal(first[:, 3], first[:, 5])
    assert [int(state.drafted.sum(1).min()) for state in states[1:4]][-1] == 7


@torch.inference_mode()
def test_greedy_levels_are_the_most_probable_codes() -> None:
    model = spoken()
    cold = SampleOptions(decoding=Decoding(temperature=0, order="entropy", noise=0))
    warm = replace(cold, decoding=replace(cold.decoding, temperature=1.0))
    *_, coldest = MaskedCodebooks(steps=(2,)).sample(model, asked(), cold)
    *_, all_greedy = MaskedCodebooks(steps=(2,), greedy=0).sample(model, asked(), warm)
    *_, mixed = MaskedCodebooks(steps=(2,), greedy=1).sample(model, asked(), warm)
    assert torch.equal(coldest.tokens, all_greedy.tokens) and not torch.equal(coldest.tokens, mixed.tokens)
    keep = torch.zeros(5, 7, dtype=torch.bool)
    *_, drawn = MaskedCodebooks(steps=(2,)).sample(model, asked(known=mixed.tokens, keep=keep), warm)
    assert torch.equal(drawn.tokens[..., 0], mixed.tokens[..., 0])
    assert not torch.equal(drawn.tokens[..., 1], mixed.tokens[..., 1])


@torch.inference_mode()
def test_text_and_guidance_steer_what_is_drawn() -> None:
    model, paradigm = spoken(), MaskedCodebooks(steps=(2,))

    def drawn(said: Tensor, scale: float = 1.0) -> Tensor:
        options = SampleOptions(guidance=Guidance(scale))
        *_, last = paradigm.sample(model, Request(draws(5), conditions={"class": LABELS, "text": said}), options)
        return last.tokens

    assert not torch.equal(drawn(SAID), drawn(SAID.flip(0)))
    assert not torch.equal(drawn(SAID), drawn(SAID, 4.0))
    assert torch.equal(drawn(SAID), drawn(SAID, 1 + 1e-12))
    none = torch.full_like(SAID, -1)
    for scale in (1.0, 3.0):  # a row without a condition is not guided away from itself
        assert torch.equal(drawn(none, scale)[3], drawn(none)[3])


# Mistakes, and spans as joint tokens


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": ()}, "at least 1"),
        ({"steps": (3, 0)}, "at least 1"),
        ({"span": 0}, "span 0"),
        ({"context": 0}, "context 0"),
        ({"prompt": 1.5}, "prompt 1.5"),
        ({"coarse": -1.0}, "coarse -1.0"),
        ({"greedy": -1}, "greedy -1"),
    ],
)
def test_wrong_options_are_refused(options: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        MaskedCodebooks(**options)


def test_other_tokens_are_refused() -> None:
    model = generator(TokenSpec("continuous", 4, (1, 3, 3)))
    with pytest.raises(UserError, match="MaskedCodebooks generates discrete tokens"):
        list(MaskedCodebooks().sample(model, Request(draws(5), conditions={"class": LABELS}), SampleOptions()))
    assert Masked.mode == MaskedCodebooks.mode


def test_it_is_a_member_of_a_mixture() -> None:
    model, x = spoken(), codes()
    mixture = Mixture({"one": MaskedCodebooks(), "near": MaskedCodebooks(context=2)})
    losses = mixture.losses(model, x, condition_of(model, LABELS, text=SAID), draws(5))
    assert sum(len(each) for each in losses.values()) == 5
    assert all(torch.isfinite(each).all() for each in losses.values())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_spans_tile_a_row_and_give_it_back(size: int) -> None:
    spans, values = Spans(SPEC.size, 7, size), codes().values[..., 0]
    tiles = spans.tiles(values)
    assert tiles.shape == (5, -(-7 // size), size) and torch.equal(spans.row(tiles), values)


def test_tokens_of_one_code_train_as_masked_tokens_do() -> None:
    model, x = generator(SPECS["bits"]), tokens_for(Masked())
    one, other = (paradigm.corrupt(x, model, draws(4)) for paradigm in (MaskedCodebooks("cosine"), Masked("cosine")))
    condition = condition_of(model, torch.full((4,), -1))
    assert torch.equal(one.hidden[..., 0], other.hidden)  # type: ignore[index]
    assert torch.equal(MaskedCodebooks().loss(model, one, condition), Masked().loss(model, other, condition))


def test_mistakes_are_seen_in_training_alone_and_never_asked_for() -> None:
    spec = TokenSpec("residual", 16, (40, 1, 1), levels=3, modality="speech", rate=10.0, stride=4, first=4)
    model, keys = generator(spec), draws(6)
    x = Tokens(torch.randint(0, 16, (6, 40, 3), generator=torch.Generator().manual_seed(0)), spec.grid)
    plain = MaskedCodebooks().corrupt(x, model, keys)
    for training in (True, False):
        model.train(training)
        row = MaskedCodebooks(token_noise=0.3).corrupt(x, model, keys)
        assert torch.equal(row.targets, x.values) and torch.equal(row.hidden, plain.hidden)  # type: ignore[arg-type]
        assert torch.equal(row.weights, plain.weights)
        share = (row.values != x.values)[~plain.hidden].double().mean().item()  # type: ignore[operator]
        assert share == pytest.approx(0.3 * 15 / 16 if training else 0, abs=0.05)
        assert int(row.values.min()) >= 0 and int(row.values.max()) < 16
    with pytest.raises(UserError, match=r"token_noise 2\.0 must lie in \[0, 1\]"):
        MaskedCodebooks(token_noise=2.0)

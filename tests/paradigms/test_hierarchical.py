"""Hierarchical autoregression: levels see the coarser ones and nothing later, caches change nothing, and what is drawn
follows the likelihood."""

import itertools

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    CodebookAutoregressive,
    Decoding,
    Guidance,
    Hierarchical,
    Mixture,
    Request,
    SampleOptions,
    State,
)
from tests.worlds import World, condition_of, draws, generator, given

SPEC = TokenSpec("residual", 3, (5, 1, 1), levels=3)
LABELS = torch.tensor([0, 1, 2, -1, 0, 1])
LENGTHS = torch.tensor([5, 2, 4, 1, 3, 5])
GUIDED = SampleOptions(guidance=Guidance(2.5, "linear"), decoding=Decoding(temperature=0.9, top_k=3, top_p=0.97))
PARADIGM, ENDLESS = Hierarchical(ends=True), Hierarchical()
either = pytest.mark.parametrize("options", [SampleOptions(), GUIDED], ids=["plain", "guided"])


def made(spec: TokenSpec = SPEC, **options: object) -> Generator:
    return generator(spec, paradigm=PARADIGM, positions="none", rope=(1, 0, 0), **options)  # type: ignore[arg-type]


def tokens(lengths: Tensor | None = None, spec: TokenSpec = SPEC, rows: int = 6, seed: int = 0) -> Tokens:
    shape = (rows, spec.length, spec.levels)
    values = torch.randint(0, spec.size, shape, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, spec.grid, lengths)


def sample(
    model: Generator, options: SampleOptions | None = None, paradigm: Hierarchical = PARADIGM, **request: object
) -> list[State]:
    labels, text = request.pop("labels", LABELS), request.pop("text", None)
    keys = request.pop("draws", draws(len(labels)))  # type: ignore[arg-type]
    with torch.inference_mode():
        return list(
            paradigm.sample(
                model, Request(keys, **request, conditions=given(model, labels, text=text)), options or SampleOptions()
            )
        )  # type: ignore[arg-type]


# The row of training.


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@torch.no_grad()
def test_a_code_depends_on_earlier_positions_and_coarser_levels_alone(lengths: Tensor | None) -> None:
    """Change a code, and no bit of the logits of those up to it may change, and of all those behind it one does."""
    model, x = made(), tokens(lengths)
    condition = condition_of(model, LABELS)
    logits = PARADIGM.logits(model, PARADIGM.corrupt(x, model, draws(6)), condition)
    for frame, level in itertools.product(range(5), range(3)):
        changed = x.values.clone()
        changed[:, frame, level] = (changed[:, frame, level] + 1) % 3
        row = PARADIGM.corrupt(Tokens(changed, x.grid, lengths), model, draws(6))
        same = (PARADIGM.logits(model, row, condition) == logits).all(-1).flatten(1)  # (B, steps x levels), in order
        for b in range(6):
            length = 5 if lengths is None else int(lengths[b])
            if frame >= length:
                assert same[b].all()  # padding
            else:
                assert same[b, : 3 * frame + level + 1].all()
                assert not same[b, 3 * frame + level + 1 : 3 * length].any()


def test_gradients_come_from_earlier_positions_and_coarser_levels_alone() -> None:
    spec = TokenSpec("residual", 40, (4, 1, 1), levels=3)
    model, count = made(spec), 4 * 3
    values = torch.arange(4)[:, None].expand(-1, 3)[None]  # every position has codes of its own
    row = ENDLESS.corrupt(Tokens(values, spec.grid), model, draws(1))
    logits = ENDLESS.logits(model, row, condition_of(model, LABELS[:1])).flatten(1, 2)
    for n in range(count):
        (gradient,) = torch.autograd.grad(logits[:, n].sum(), model.embedding.table.weight, retain_graph=True)
        reached = gradient.view(3, 41, -1)[:, :4].any(-1).T.flatten()
        assert torch.equal(reached, torch.arange(count) < n)


def test_each_code_and_each_end_is_predicted_once() -> None:
    row = PARADIGM.corrupt(tokens(LENGTHS), made(), draws(6))
    end = row.targets == 3
    assert torch.equal((row.weights > 0).sum((1, 2)), 3 * LENGTHS + 1)
    assert torch.equal(end.sum((1, 2)), torch.ones(6, dtype=torch.int64)) and not end[..., 1:].any()


@torch.no_grad()
def test_losses_are_the_likelihood_by_the_chain_rule() -> None:
    """Of each code, from a row that goes no further than the step before it, with the coarser codes of its own."""
    model, x = made(), tokens(LENGTHS)
    condition, total = condition_of(model, LABELS), torch.zeros(6, dtype=torch.float64)
    for b, frame in itertools.product((1, 2, 3), range(6)):
        length = int(LENGTHS[b])
        if frame > length:
            continue
        short = Tokens(x.values[b : b + 1, : max(frame, 1)], (max(frame, 1), 1, 1), torch.tensor([max(frame, 1)]))
        for level in range(3 if frame < length else 1):
            own = x.values[b, frame].clone() if frame < length else torch.full((3,), 3)
            target, own[level:] = int(own[level]), 0  # nothing of itself and of finer ones
            row = PARADIGM.corrupt(short, model, draws(6).rows(torch.tensor([b])))
            targets = torch.cat([row.targets[:, :frame], own[None, None]], dim=1)
            begin = row.layout.length - row.values.shape[1]
            row = type(row)(
                row.values[:, :frame], row.hidden[:, :frame], row.layout.slice(0, begin + frame), row.mask, targets,
                row.weights,
            )  # fmt: skip
            law = PARADIGM.logits(model, row, condition.rows(torch.tensor([b])))[0, frame, level]
            if level or frame == 0:
                law = law[:3]  # END is no choice there
            total[b] -= law.log_softmax(-1)[target] / length
    torch.testing.assert_close(PARADIGM.bound(model, x, condition, draws(6))[1:4], total[1:4])


def test_codes_are_forgotten_and_mistaken_in_training_alone() -> None:
    model, x, keys = made(), tokens(LENGTHS), draws(6)
    condition, plain = condition_of(model, LABELS), PARADIGM.losses(model, x, condition_of(model, LABELS), keys)["ar"]
    for spoiled in (Hierarchical(input_dropout=0.5, ends=True), Hierarchical(token_noise=0.5, ends=True)):
        assert torch.equal(spoiled.losses(model, x, condition, keys)["ar"], plain)
        model.train()
        assert not torch.equal(spoiled.losses(model, x, condition, keys)["ar"], plain)
        model.eval()


# Sampling.


@either
@pytest.mark.parametrize("way", ["ends", "given", "full"])
def test_cached_steps_see_what_the_row_of_training_shows(options: SampleOptions, way: str) -> None:
    """The features of every level at every step of each row, against the whole row that training would make of what
    came out, without a cache."""
    model, paradigm = made(), ENDLESS if way == "full" else PARADIGM
    if way == "ends":
        model.parts["end"].bias.data += 1.0  # so that rows end before the grid does
    seen: list[Tensor] = []
    plain = model.head.at_level  # type: ignore[union-attr]
    model.head.at_level = lambda features, level: (seen.append(features), plain(features, level))[1]  # type: ignore[union-attr]
    states = sample(model, options, paradigm, **({"lengths": LENGTHS} if way == "given" else {}))
    last, halves = states[-1], 1 if options.guidance.scale == 1 else 2
    assert last.committed.all() and len(seen) == 3 * last.forward_passes == 3 * (len(states) - 1)
    cached = torch.stack(seen).unflatten(0, (-1, 3)).permute(2, 0, 1, 3)  # (B, steps, levels, dim)
    lengths = {"ends": last.lengths, "given": LENGTHS, "full": torch.full((6,), 5)}[way]
    assert lengths is not None and (way != "ends" or len(lengths.unique()) > 1)
    rows = Tokens(last.tokens.repeat(halves, 1, 1), SPEC.grid, None if way == "full" else lengths.repeat(halves))
    seen.clear()
    with torch.inference_mode():
        row = paradigm.corrupt(rows, model, draws(6 * halves))
        labels = LABELS if halves == 1 else torch.cat([LABELS, torch.full_like(LABELS, -1)])
        paradigm.logits(model, row, condition_of(model, labels))
    whole = torch.stack(seen, dim=2)
    for b in range(6 * halves):
        length = int(lengths[b % 6])
        torch.testing.assert_close(cached[b, :length], whole[b, :length], rtol=1e-9, atol=1e-9)
        if way == "ends" and length < 5:
            torch.testing.assert_close(cached[b, length, 0], whole[b, length, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "lengths"),
    [(GUIDED, None), (SampleOptions(), torch.tensor([5, 2, 4, 1, 5, 5]))],
    ids=["ends", "given"],
)
def test_a_row_in_a_batch_is_the_row_alone(options: SampleOptions, lengths: Tensor | None) -> None:
    """Also where rows end by themselves, at different steps, begin with prompts of different lengths, or are read
    several steps at once while all others are over."""
    model, known = made(text=Text("abc", 4)), tokens(seed=3).values
    keep = torch.arange(5) < torch.tensor([0, 2, 1, 0, 5, 4])[:, None]
    text = torch.tensor([[0, 1, -1, -1], [2, 2, 1, 0], [0, -1, -1, -1], [1, 1, -1, -1], [2, -1, -1, -1], [0, 1, 2, -1]])

    def drawn(rows: Tensor) -> State:
        own = None if lengths is None else lengths[rows]
        return sample(
            model, options, labels=LABELS[rows], draws=draws(6).rows(rows), known=known[rows], keep=keep[rows],
            text=text[rows], lengths=own,
        )[-1]  # fmt: skip

    together = drawn(torch.arange(6))
    assert together.lengths is not None and len(together.lengths.unique()) > 1
    real = torch.arange(5) < together.lengths[:, None]
    assert torch.equal(together.tokens[keep & real], known[keep & real])
    for group in ([0], [1], [2], [3, 5], [4]):
        rows = torch.tensor(group)
        alone = drawn(rows)
        assert torch.equal(alone.tokens, together.tokens[rows])
        assert torch.equal(alone.lengths, together.lengths[rows])  # type: ignore[arg-type]


def test_states_stream_whole_positions_which_stay() -> None:
    states = sample(made(), paradigm=ENDLESS)
    assert [int(state.committed[0].sum()) for state in states] == list(range(6))
    assert states[-1].forward_passes == 5
    for before, after in zip(states, states[1:], strict=False):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])


def test_the_grid_of_the_request_is_the_cap() -> None:
    model = made()
    with torch.no_grad():
        model.parts["end"].bias[:] = -1e4  # END never comes
    last = sample(model, grid=(9, 1, 1))[-1]
    assert last.tokens.shape == (6, 9, 3) and (last.lengths == 9).all()


def test_samples_follow_the_exact_likelihood() -> None:
    """The law of what is drawn, ends included, is that which the loss measures."""
    spec, count = TokenSpec("residual", 2, (3, 1, 1), levels=2), 4000
    model = made(spec=spec, classes=0)
    law = []
    with torch.inference_mode():
        for length in (1, 2):
            codes = torch.tensor(list(itertools.product(range(2), repeat=2 * length))).view(-1, length, 2)
            padded = torch.nn.functional.pad(codes, (0, 0, 0, 3 - length))
            x = Tokens(padded, spec.grid, torch.full((len(codes),), length))
            none = torch.full((len(codes),), -1)
            law.append((-length * PARADIGM.bound(model, x, condition_of(model, none), draws(len(codes)))).exp())
    expected = torch.cat(law)
    expected = torch.cat([expected, 1 - expected.sum(0, keepdim=True)])
    assert 0.05 < expected[-1] < 0.95
    last = sample(model, labels=torch.full((count,), -1), draws=draws(count))[-1]
    number = (last.tokens.flatten(1)[:, :4] * 2 ** torch.tensor([3, 2, 1, 0])).sum(1)
    first = (last.tokens.flatten(1)[:, :2] * 2 ** torch.tensor([1, 0])).sum(1)
    found = torch.where(last.lengths == 1, first, torch.where(last.lengths == 2, 4 + number, 20)).bincount(minlength=21)
    statistic = float(((found - count * expected) ** 2 / (count * expected)).sum())
    assert statistic < chi2.ppf(1 - 1e-4, 20)


def test_trained_on_a_world_it_draws_the_true_law() -> None:
    """Of two positions of two levels that tell of each other in every way, so that codes drawn in parallel could not
    follow it: the law of independent ones given the past is as far from it as the test can see."""
    world, count = World(length=4), 4000
    spec, keys, none = TokenSpec("residual", 2, (2, 1, 1), levels=2), draws(count, seed=1), torch.full((count,), -1)
    model, x = trained(world, spec), Tokens(world.sample(count, 99).view(-1, 2, 2), spec.grid)
    with torch.inference_mode():
        *_, last = ENDLESS.sample(model, Request(keys), SampleOptions())
        bound = float(ENDLESS.bound(model, x, condition_of(model, none), keys).mean())
    assert 2 * world.entropy - 0.03 < bound < 2 * world.entropy + 0.05
    joint = world.law.view(4, 2, 2)  # the first position's codes together, then those of the second
    second = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True) / joint.sum((1, 2), keepdim=True)
    found, far = world.histogram(last.tokens.flatten(1)), []
    for law in (world.law, second.flatten()):
        far.append(float(((found - law * count) ** 2 / (law * count)).sum()))
    # The model is near, not at, the law: allow a divergence of 0.002 nats beside the sampling error.
    limit = chi2.ppf(1 - 1e-4, 15) + 2 * count * 0.002
    assert far[0] < limit < far[1]


def trained(world: World, spec: TokenSpec, steps: int = 250, batch: int = 256) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Transformer(dim=32, depth=1, heads=2, modulation="none", rope=(1, 0, 0))
        paradigm = Hierarchical(level_depth=1)
        model = Generator(spec, backbone, parts=paradigm.parts(spec, backbone))
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        x = Tokens(world.sample(batch, seed=step).view(-1, 2, 2), spec.grid)
        keys = Draws(0, torch.arange(step * batch, (step + 1) * batch))
        (losses,) = paradigm.losses(model, x, condition_of(model, torch.full((batch,), -1)), keys).values()
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
        schedule.step()
    return model.eval()


# Parts and mistakes.


def test_stacks_have_the_options_of_the_backbone_and_weights_of_their_own() -> None:
    backbone = Transformer(dim=32, depth=3, heads=2, modulation="adaln", mlp="gelu", dropout=0.1)
    first, second = PARADIGM.parts(SPEC, backbone)["levels"]  # type: ignore[misc]
    shapes = {name: weight.shape for name, weight in backbone.state_dict().items() if not name.startswith("blocks.2")}
    for stack in (first, second):
        assert {name: weight.shape for name, weight in stack.state_dict().items()} == shapes
        assert stack.depth == 2 and stack.rotary is backbone.rotary and stack.blocks[0].dropout.p == 0.1
    weights = [each.blocks[n].mixer.qkv.weight for each in (backbone, first, second) for n in range(2)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(weights, 2))


def test_what_cannot_work_is_refused() -> None:
    one_level, vectors = TokenSpec("categorical", 4, (4, 1, 1)), TokenSpec("continuous", 4, (4, 1, 1))
    backbone = Transformer(dim=32, depth=1, heads=2)
    with pytest.raises(UserError, match="level_depth 0 must be at least 1"):
        Hierarchical(level_depth=0)
    for spec in (one_level, vectors):
        with pytest.raises(UserError, match="take Autoregressive"):
            PARADIGM.parts(spec, backbone)
        with pytest.raises(UserError, match="take Autoregressive"):
            sample(generator(spec, positions="none"))
    with pytest.raises(UserError, match="needs its part 'levels'"):
        sample(generator(SPEC, paradigm=CodebookAutoregressive(ends=True), positions="none"))
    with pytest.raises(UserError, match="sees one that is generated later"):
        Hierarchical(mask="bidirectional").corrupt(tokens(), made(), draws(6))


def test_it_is_a_member_of_a_mixture_with_others_over_the_same_codes() -> None:
    model, x = made(), tokens(LENGTHS)
    mixture = Mixture({"levels": PARADIGM, "delay": CodebookAutoregressive(ends=True)})
    losses = mixture.losses(model, x, condition_of(model, LABELS), draws(6))
    assert sum(len(each) for each in losses.values()) == 6
    assert all(torch.isfinite(each).all() for each in losses.values())

"""Autoregression over codebooks, step by step or level by level: each code is predicted once, a cache changes nothing,
samples follow the likelihood, and rows end where they say. Laws 1, 7 and 8 are in tests/properties.
"""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.core.vocabulary import FreeText
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import Condition, Entry, build_conditions
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    Autoregressive,
    CodebookAutoregressive,
    Decoding,
    Guidance,
    Hierarchical,
    Request,
    SampleOptions,
    SpanInfill,
    State,
)
from tests.worlds import condition_of, condition_values, draws, generator

SPEC = TokenSpec("residual", 3, (5, 1, 1), levels=3)
PATTERNS: dict[str, CodebookAutoregressive] = {
    "flat": CodebookAutoregressive("flat", ends=True),
    "parallel": CodebookAutoregressive("parallel", ends=True),
    "delay": CodebookAutoregressive("delay", ends=True),
    "delay 0 0 3": CodebookAutoregressive("delay", [0, 0, 3], ends=True),
    "coarse_first": CodebookAutoregressive("coarse_first", ends=True),
    "coarse_first 0 0 2": CodebookAutoregressive("coarse_first", [0, 0, 2], ends=True),
    "hierarchical": Hierarchical(ends=True),
}
LABELS = torch.tensor([0, 1, 2, -1, 0, 1])
LENGTHS = torch.tensor([5, 2, 4, 1, 3, 5])
GUIDED = SampleOptions(guidance=Guidance(2.5), decoding=Decoding(temperature=0.9, top_k=3, top_p=0.97))
MAKES = {"ar": CodebookAutoregressive, "levels": Hierarchical, "infill": SpanInfill}
makes = pytest.mark.parametrize("make", [partial(each, ends=True) for each in MAKES.values()], ids=MAKES)
patterns = pytest.mark.parametrize("paradigm", PATTERNS.values(), ids=PATTERNS)
either = pytest.mark.parametrize("options", [SampleOptions(), GUIDED], ids=["plain", "guided"])


def made(spec: TokenSpec = SPEC, **options: object) -> Generator:
    return generator(spec, positions="none", rope=(1, 0, 0), **options)  # type: ignore[arg-type]


def endless(paradigm: CodebookAutoregressive) -> CodebookAutoregressive:
    """The same, whose rows do not end by themselves."""
    other = copy.copy(paradigm)
    other.ends = False
    return other


def tokens(lengths: Tensor | None = None, spec: TokenSpec = SPEC, rows: int = 6, seed: int = 0) -> Tokens:
    shape = (rows, spec.length, spec.levels)
    values = torch.randint(0, spec.size, shape, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, spec.grid, lengths)


def sample(
    paradigm: CodebookAutoregressive, model: Generator, options: SampleOptions | None = None, **request: object
) -> list[State]:
    labels, text = request.pop("labels", LABELS), request.pop("text", None)
    keys = request.pop("draws", draws(len(labels)))  # type: ignore[arg-type]
    conditions = condition_values(model, labels, text=text)  # type: ignore[arg-type]
    with torch.inference_mode():
        return list(paradigm.sample(model, Request(keys, **request, conditions=conditions), options or SampleOptions()))


# The row of training.


@patterns
@torch.no_grad()
def test_a_code_matters_to_all_that_comes_later_and_to_nothing_else(paradigm: CodebookAutoregressive) -> None:
    model, x = made(), tokens(LENGTHS)
    condition, pattern = condition_of(model, LABELS), paradigm.steps(model)
    level_of, logits = torch.arange(3), paradigm.logits(model, paradigm.corrupt(x, model, draws(6)), condition)
    for frame, level in itertools.product(range(5), range(3)):
        changed = x.values.clone()
        changed[:, frame, level] = (changed[:, frame, level] + 1) % 3
        row = paradigm.corrupt(Tokens(changed, x.grid, LENGTHS), model, draws(6))
        same = (paradigm.logits(model, row, condition) == logits).all(-1)  # (B, steps, levels)
        for b, length in enumerate(LENGTHS.tolist()):
            own = int(pattern.place(torch.tensor(frame), length, True)[level])
            step = torch.arange(same.shape[1])[:, None]
            later = (step > own) | ((step == own) & (level_of > level) & isinstance(paradigm, Hierarchical))
            real = step < pattern.count(length, True)
            real = real & ((step < length) | (level_of == 0)) if isinstance(paradigm, Hierarchical) else real
            assert same[b][~later.expand_as(same[b])].all()
            assert not same[b][(later & real).expand_as(same[b])].any() if frame < length else same[b].all()


@patterns
def test_each_code_and_each_end_is_predicted_once(paradigm: CodebookAutoregressive) -> None:
    row = paradigm.corrupt(tokens(LENGTHS), made(), draws(6))
    end = row.targets == 3
    assert torch.equal((row.weights > 0).sum((1, 2)), 3 * LENGTHS + 1)
    assert torch.equal(end.sum((1, 2)), torch.ones(6, dtype=torch.int64)) and not end[..., 1:].any()
    assert (row.weights[end] > 0).all()
    torch.testing.assert_close(row.weights.sum((1, 2)) * LENGTHS, 3.0 * LENGTHS.double() + 1)
    without = endless(paradigm).corrupt(tokens(), made(), draws(6))
    torch.testing.assert_close(without.weights.sum(1), torch.ones(6, 3, dtype=torch.float64))


@pytest.mark.parametrize("name", ["flat", "parallel", "delay", "coarse_first"])
@pytest.mark.parametrize("kind", ["categorical", "bits"])
def test_of_one_level_every_pattern_is_plain_autoregression(name: str, kind: str) -> None:
    spec = TokenSpec(kind, 4, (1, 2, 3))  # type: ignore[arg-type]
    model, paradigm = generator(spec), CodebookAutoregressive(name)  # type: ignore[arg-type]
    values = torch.randint(0, 4, (4, 6), generator=torch.Generator().manual_seed(0))
    for lengths in (None, torch.tensor([6, 3, 1, 5])):
        x, condition = Tokens(values, spec.grid, lengths), condition_of(model, LABELS[:4])
        one, other = (each.bound(model, x, condition, draws(4)) for each in (paradigm, Autoregressive()))
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@makes
def test_steps_are_dropped_in_training_alone(make: Callable[..., CodebookAutoregressive | SpanInfill]) -> None:
    model, x, keys = made(), tokens(LENGTHS), draws(6)
    plain = make().corrupt(x, model, keys).hidden
    assert plain is not None
    for training, share in itertools.product((True, False), (0.0, 0.4, 1.0)):
        model.train(training)
        row = make(input_dropout=share).corrupt(x, model, keys)
        assert row.hidden is not None and not (plain & ~row.hidden).any()
        assert torch.equal(row.targets, make().corrupt(x, model, keys).targets)
        assert (row.hidden & ~plain).any() == (training and share > 0)
        assert (row.hidden.all(-1) | (row.hidden == plain).all(-1)).all()  # all levels of a step or none
        assert row.hidden.all() or not (training and share == 1)


@makes
def test_mistakes_are_seen_in_training_alone_and_never_predicted(
    make: Callable[..., CodebookAutoregressive | SpanInfill],
) -> None:
    spec = TokenSpec("residual", 16, (40, 1, 1), levels=3)
    model, x, keys = made(spec), tokens(spec=spec), draws(6)
    plain = make().corrupt(x, model, keys)
    for training in (True, False):
        model.train(training)
        row = make(token_noise=0.3).corrupt(x, model, keys)
        assert torch.equal(row.targets, plain.targets)
        share = (row.values != plain.values)[~plain.hidden].double().mean().item()  # type: ignore[operator]
        assert share == pytest.approx(0.3 * 15 / 16 if training else 0, abs=0.03)
        assert row.values.min() >= 0 and row.values.max() < 16
    with pytest.raises(UserError, match="input_dropout and token_noise are shares from 0 to 1, got 0 and 2"):
        make(token_noise=2.0)


# Sampling.


@patterns
@either
@pytest.mark.parametrize("way", ["ends", "given", "full"])
def test_cached_steps_see_what_the_row_of_training_shows(
    paradigm: CodebookAutoregressive, options: SampleOptions, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guided logits of each pass of each row, against the whole row that training would make of what came out."""
    model, paradigm = made(), endless(paradigm) if way == "full" else paradigm
    if way == "ends":
        model.parts["end"].bias.data += 1.0  # so that rows end before the grid does
    actual: list[Tensor] = []
    module = type(paradigm).__module__
    plain = __import__(module, fromlist=["choose"]).choose
    monkeypatch.setattr(
        f"{module}.choose", lambda head, logits, *more: (actual.append(logits), plain(head, logits, *more))[1]
    )
    states = sample(paradigm, model, options, **({"lengths": LENGTHS} if way == "given" else {}))
    last = states[-1]
    lengths = {"ends": last.lengths, "given": LENGTHS, "full": torch.full((6,), 5)}[way]
    assert last.committed.all() and last.forward_passes == len(states) - 1 and lengths is not None
    assert way != "ends" or len(lengths.unique()) > 1
    if isinstance(paradigm, Hierarchical):
        actual = [torch.cat(actual[n : n + 3], dim=1) for n in range(0, len(actual), 3)]
    x = Tokens(last.tokens, SPEC.grid, None if way == "full" else lengths)
    with torch.inference_mode():
        row = paradigm.corrupt(x, model, draws(6))
        whole, none = (paradigm.logits(model, row, condition_of(model, each)) for each in (LABELS, LABELS * 0 - 1))
    whole, compared = none + options.guidance.scale * (whole - none), 0
    for state, logits in zip(states[1:], actual, strict=True):
        for b in range(6):
            predicted = row.weights[b, state.block] > 0 if state.block < whole.shape[1] else torch.zeros(3).bool()
            if way != "ends" or lengths[b] == 5:  # no END is drawn behind a length that is known
                predicted = predicted & (row.targets[b, state.block : state.block + 1] < 3).all(0)
            torch.testing.assert_close(logits[b, predicted], whole[b, state.block][predicted], rtol=1e-8, atol=1e-8)
            compared += int(predicted.sum())
    assert compared >= 3 * int(lengths.sum()) - 6


@patterns
def test_rows_of_different_prompts_are_those_alone(paradigm: CodebookAutoregressive) -> None:
    """Rows that end by themselves, at different steps, with texts and prompts of different lengths."""
    model, known = made(text=Text("abc", 4)), tokens(seed=3).values
    keep = torch.arange(5) < torch.tensor([0, 2, 1, 0, 5, 3])[:, None]
    text = torch.tensor([[0, 1, -1, -1], [2, 2, 1, 0], [0, -1, -1, -1], [1, 1, -1, -1], [2, -1, -1, -1], [0, 1, 2, -1]])
    together = sample(paradigm, model, GUIDED, known=known, keep=keep, text=text)[-1]
    assert torch.equal(together.tokens[keep], known[keep]) and len(together.lengths.unique()) > 1
    for group in ([0], [1], [2], [3, 5], [4]):
        rows = torch.tensor(group)
        single = sample(
            paradigm, model, GUIDED, labels=LABELS[rows], draws=draws(6).rows(rows), known=known[rows],
            keep=keep[rows], text=text[rows],
        )[-1]  # fmt: skip
        assert torch.equal(single.tokens, together.tokens[rows]) and torch.equal(single.lengths, together.lengths[rows])


@patterns
def test_states_stream_whole_frames_which_stay(paradigm: CodebookAutoregressive) -> None:
    states = sample(paradigm, made())
    for before, after in itertools.pairwise(states):
        assert torch.equal(before.tokens[before.committed], after.tokens[before.committed])
        assert (after.committed | ~before.committed).all()
    assert (states[0].lengths == 5).all() and not states[0].committed.any()
    last = states[-1]
    assert (last.tokens < 3).all() and (last.lengths >= 1).all()
    for row, length in zip(last.tokens, last.lengths, strict=True):
        assert not row[length:].any()
    passes = {"flat": (15, 3), "parallel": (5, 1), "delay": (7, 3), "delay 0 0 3": (8, 4), "hierarchical": (5, 1)}
    name = next(name for name, each in PATTERNS.items() if each is paradigm)
    if name in passes:  # in all, and until the first frame is whole
        count, frame = passes[name]
        whole = [int(state.committed[0].sum()) for state in sample(endless(paradigm), made())]
        assert len(whole) - 1 == count and whole == sorted(whole) and whole[-1] == 5
        assert whole[frame - 1] == 0 and whole[frame] == 1


@patterns
def test_samples_follow_the_exact_likelihood(paradigm: CodebookAutoregressive) -> None:
    """The law of what is drawn, ends included, is that which the loss measures."""
    spec, count = TokenSpec("residual", 2, (3, 1, 1), levels=2), 4000
    if paradigm.delays is not None:
        return
    model, law = made(spec=spec, classes=0), []
    with torch.inference_mode():
        for length in (1, 2):
            codes = torch.tensor(list(itertools.product(range(2), repeat=2 * length))).view(-1, length, 2)
            padded = torch.nn.functional.pad(codes, (0, 0, 0, 3 - length))
            x = Tokens(padded, spec.grid, torch.full((len(codes),), length))
            none = torch.full((len(codes),), -1)
            law.append((-length * paradigm.bound(model, x, condition_of(model, none), draws(len(codes)))).exp())
    expected = torch.cat(law)
    expected = torch.cat([expected, 1 - expected.sum(0, keepdim=True)])
    assert 0.05 < expected[-1] < 0.95
    last = sample(paradigm, model, labels=torch.full((count,), -1), draws=draws(count))[-1]
    number = (last.tokens.flatten(1)[:, :4] * 2 ** torch.tensor([3, 2, 1, 0])).sum(1)
    first = (last.tokens.flatten(1)[:, :2] * 2 ** torch.tensor([1, 0])).sum(1)
    drawn = torch.where(last.lengths == 1, first, torch.where(last.lengths == 2, 4 + number, 20)).bincount(minlength=21)
    statistic = float(((drawn - count * expected) ** 2 / (count * expected)).sum())
    assert statistic < chi2.ppf(1 - 1e-4, 20)


def test_a_known_length_or_none_leaves_no_end() -> None:
    last = sample(PATTERNS["delay"], made(), lengths=LENGTHS)[-1]
    assert torch.equal(last.lengths, LENGTHS) and (last.tokens < 3).all()
    assert sample(endless(PATTERNS["delay"]), made())[-1].lengths is None


@pytest.mark.parametrize("name", ["delay", "hierarchical"])
def test_the_grid_of_the_request_is_the_cap(name: str) -> None:
    model = made()
    for bias, length in ((-1e4, 9), (1e4, 1)):  # END of the first level never comes, or at once
        with torch.no_grad():
            model.parts["end"].bias[:] = bias
        last = sample(PATTERNS[name], model, grid=(9, 1, 1))[-1]
        assert last.tokens.shape == (6, 9, 3) and (last.lengths == length).all()


def test_a_prompt_is_read_in_one_pass() -> None:
    known, keep = tokens().values, torch.arange(5).expand(6, -1) < 3
    states = sample(endless(PATTERNS["delay"]), made(), known=known, keep=keep)
    assert states[1].block == 3 and len(states) - 1 == 7 - 3
    keep = keep.clone()
    keep[2] = torch.tensor([False, True, False, False, False])
    with pytest.raises(UserError, match="cannot see the kept position 1 of row 2"):
        sample(endless(PATTERNS["delay"]), made(), known=known, keep=keep)


# Stacks of levels.


def test_stacks_have_the_options_of_the_backbone_and_weights_of_their_own() -> None:
    backbone = Transformer(dim=32, depth=3, heads=2, modulation="adaln", mlp="gelu", dropout=0.1)
    first, second = Hierarchical().parts(SPEC, backbone)["levels"]  # type: ignore[misc]
    shapes = {name: weight.shape for name, weight in backbone.state_dict().items() if not name.startswith("blocks.2")}
    for stack in (first, second):
        assert {name: weight.shape for name, weight in stack.state_dict().items()} == shapes
        assert stack.depth == 2 and stack.rotary is backbone.rotary and stack.blocks[0].dropout.p == 0.1
    weights = [each.blocks[n].mixer.qkv.weight for each in (backbone, first, second) for n in range(2)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(weights, 2))


class Lines(Condition):
    """Three vectors of numbers from 0 to 2, to which blocks attend."""

    takes, entrances, default = FreeText, ("cross_attention",), False

    def __init__(self, vocabulary: FreeText, spec: TokenSpec, dim: int) -> None:
        super().__init__(vocabulary, self.entrances, 0.1, 0.0)
        self.table = torch.nn.Embedding(4, dim)

    def null(self, rows: int, frames: int | None = None) -> Tensor:
        return torch.full((rows, 3), 3)

    def check(self, values: Tensor, rows: int, frames: int | None = None) -> None:
        assert values.shape == (rows, 3)

    def forward(self, values: Tensor, draws: object = None) -> Entry:
        return Entry(memory=self.table(values), memory_mask=torch.ones_like(values, dtype=torch.bool))


@torch.no_grad()
def test_every_level_attends_to_a_memory() -> None:
    """The stacks too: alone and in a batch, cached or not, and each level feels it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Transformer(dim=32, depth=1, heads=2, rope=(1, 0, 0), cross_attention=True)
        conditions = build_conditions({"lines": Lines}, {"lines": FreeText()}, SPEC, 32)
        paradigm = Hierarchical(level_depth=1)
        model = Generator(SPEC, backbone, conditions, "none", parts=paradigm.parts(SPEC, backbone)).double().eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    lines = torch.randint(0, 3, (6, 3), generator=torch.Generator().manual_seed(1))
    *_, last = paradigm.sample(model, Request(draws(6), conditions={"lines": lines}), GUIDED)
    one = torch.tensor([4])
    *_, single = paradigm.sample(model, Request(draws(6).rows(one), conditions={"lines": lines[one]}), GUIDED)
    assert torch.equal(single.tokens, last.tokens[one])
    row = paradigm.corrupt(tokens(), model, draws(6))
    none = torch.full_like(lines, 3)
    one, other = (paradigm.logits(model, row, model.conditions({"lines": each})) for each in (lines, none))
    assert (one != other).any(-1).all()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: CodebookAutoregressive(mask="bidirectional").corrupt(tokens(), made(), draws(6)), "generated later"),
        (lambda: Hierarchical(mask="bidirectional").corrupt(tokens(), made(), draws(6)), "generated later"),
        (
            lambda: CodebookAutoregressive().corrupt(tokens(), generator(SPEC, positions="learned"), draws(6)),
            "the row goes on to place 5 and the learned table .* ends at 4",
        ),
        (lambda: CodebookAutoregressive(delays=[0, 1]).corrupt(tokens(), made(), draws(6)), "2 numbers for 3 levels"),
        (lambda: CodebookAutoregressive().corrupt(tokens(), made(actions=2), draws(6)), "follows no actions"),
        (lambda: CodebookAutoregressive("delay", [0, 2, 1]), "a coarser level after a finer one"),
        (lambda: Hierarchical(level_depth=0), "level_depth 0 must be at least 1"),
        (
            lambda: sample(Hierarchical(), generator(SPEC, paradigm=CodebookAutoregressive(), positions="none")),
            "needs its part 'levels'",
        ),
        (
            lambda: sample(Hierarchical(), generator(TokenSpec("categorical", 4, (4, 1, 1)), positions="none")),
            "take Autoregressive",
        ),
        (
            lambda: generator(TokenSpec("continuous", 4, (4, 1, 1)), paradigm=Hierarchical()),
            "take Autoregressive",
        ),
    ],
)
def test_what_cannot_be_is_refused(run: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run()

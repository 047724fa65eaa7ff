"""Decoding rules on distributions small enough to know the answer."""

import math
from typing import get_args

import pytest
import torch
from scipy.stats import chi2

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.tokens import TokenSpec
from mmgen.model.heads import BitsHead, CategoricalHead
from mmgen.model.heads.base import distribution, draw
from mmgen.paradigms import Decoding
from mmgen.paradigms.decoding import token_entropy, token_margin, top, unmask, within_entropy_bound
from mmgen.paradigms.guidance import Guidance
from mmgen.paradigms.schedules import SCHEDULES, RevealScheduleName, hidden_count, remaining

CODES = TokenSpec("categorical", 4, (1, 1, 1))
LAW = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def test_draws_follow_the_law() -> None:
    count = 20000
    drawn = draw(LAW.expand(count, 4), Draws(0, torch.arange(count)).uniform("token"))
    expected = LAW * count
    assert float(((drawn.bincount(minlength=4) - expected) ** 2 / expected).sum()) < chi2.ppf(1 - 1e-4, 3)


def test_impossible_values_are_never_drawn() -> None:
    probs = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0], dtype=torch.float64)
    uniform = torch.cat([torch.rand(2000, dtype=torch.float64), torch.tensor([0.0, 1 - 2**-53])])
    assert set(draw(probs.expand(len(uniform), 5), uniform).tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (Decoding(), LAW),
        (Decoding(temperature=0), torch.tensor([0.0, 0.0, 0.0, 1.0])),
        (Decoding(temperature=0.5), LAW**2 / (LAW**2).sum()),
        (Decoding(top_k=2), torch.tensor([0.0, 0.0, 3 / 7, 4 / 7])),
        (Decoding(top_p=0.7), torch.tensor([0.0, 0.0, 3 / 7, 4 / 7])),
        (Decoding(top_p=0.71), torch.tensor([0.0, 2 / 9, 3 / 9, 4 / 9])),
        (Decoding(top_k=3, top_p=0.5), torch.tensor([0.0, 0.0, 3 / 7, 4 / 7])),
        (Decoding(top_p=1e-9), torch.tensor([0.0, 0.0, 0.0, 1.0])),
    ],
)
def test_temperature_then_top_k_then_top_p(decoding: Decoding, expected: torch.Tensor) -> None:
    torch.testing.assert_close(distribution(LAW.log(), decoding), expected.double())


def test_margin_and_entropy_of_grouped_tokens_equal_enumeration() -> None:
    logits = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    probs = logits.softmax(-1)
    joint = torch.einsum("ni,nj,nk->nijk", *probs.unbind(1)).flatten(1)
    best = joint.topk(2, dim=1).values
    torch.testing.assert_close(token_margin(probs), best[:, 0] - best[:, 1])
    torch.testing.assert_close(token_entropy(probs), torch.special.entr(joint).sum(1))


def test_top_takes_the_best_eligible_and_breaks_ties_by_index() -> None:
    score = torch.tensor([[3.0, 1.0, 3.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    eligible = torch.tensor([[True, True, True, False], [False, True, True, True]])
    assert top(score, eligible, torch.tensor([1, 2])).tolist() == [
        [True, False, False, False],
        [False, True, True, False],
    ]
    assert not top(score, eligible, torch.tensor([0, 0])).any()


def test_entropy_bound_takes_the_largest_admissible_set() -> None:
    entropy = torch.rand(200, 7, generator=torch.Generator().manual_seed(0)).double()
    eligible = torch.rand(200, 7, generator=torch.Generator().manual_seed(1)) < 0.7
    eligible[:, 0] = True
    for bound in (0.0, 0.4, 1.0, 99.0):
        chosen = within_entropy_bound(entropy, eligible, bound)
        for row in range(200):
            ordered = sorted((float(entropy[row, n]), n) for n in range(7) if eligible[row, n])
            best = max(k for k in range(1, len(ordered) + 1) if sum(h for h, _ in ordered[: k - 1]) <= bound + 1e-12)
            assert chosen[row].nonzero()[:, 0].tolist() == sorted(n for _, n in ordered[:best])


def revealed(law: torch.Tensor, rule: Decoding, name: str = "linear", steps: int = 1, seed: int = 0) -> list:
    """States of `unmask` from an empty row on, of a law (B, N, 1, choices) that does not change."""
    start = torch.zeros(*law.shape[:3], dtype=torch.int64)
    keys = Draws(0, torch.arange(seed, seed + len(law)))
    return list(unmask(lambda codes, known: law, start, start[..., 0] > 0, rule, name, steps, keys, "x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("size", [1, 2, 7, 49])
@pytest.mark.parametrize("steps", [1, 2, 8, 60])
@pytest.mark.parametrize("order", ["confidence", "margin", "entropy", "random"])
def test_counts_sum_to_all_and_committed_tokens_stay(name: str, size: int, steps: int, order: str) -> None:
    """Each step commits at least one; K steps, or fewer where there are fewer tokens (K = 1 and K > N included)."""
    states = revealed(LAW.log().expand(2, size, 1, 4), Decoding(order=order), name, steps)  # type: ignore[arg-type]
    start = torch.zeros(2, size, 1, dtype=torch.int64)
    assert len(states) <= min(steps, size) and states[-1][1].all()
    before = (start, start[..., 0] > 0)
    for tokens, committed in states:
        assert (committed.sum(1) > before[1].sum(1)).all()
        assert torch.equal(tokens[before[1]], before[0][before[1]])
        before = (tokens, committed)


def test_threshold_commits_what_is_sure_and_at_least_one() -> None:
    sure = torch.tensor([0.97, 0.01, 0.01, 0.01], dtype=torch.float64).log()
    law = torch.stack([sure, LAW.log(), sure, LAW.log()])[None, :, None]
    # A stream in which both sure positions draw their likely value.
    states = revealed(law, Decoding(select="threshold", threshold=0.9), seed=5)
    likely = states[0][0][0, [0, 2], 0] == 0
    assert likely.all() and states[0][1].tolist() == [[True, False, True, False]]
    assert [int(c.sum()) for _, c in states] == [2, 3, 4]


def test_entropy_bound_zero_commits_one_token_a_step() -> None:
    rule = Decoding(select="entropy_bound", entropy_bound=0.0)
    assert len(revealed(LAW.log().expand(1, 5, 1, 4), rule)) == 5


@pytest.mark.parametrize("size", [1, 3, 7, 49, 1024])
def test_as_many_linear_steps_as_tokens_commit_one_each(size: int) -> None:
    left = [int(remaining("linear", step, size, torch.tensor([size]))) for step in range(size)]
    assert left == list(range(size - 1, -1, -1))


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("name", get_args(RevealScheduleName))
def test_sampling_schedules_reveal_all_and_hide_none_again(name: RevealScheduleName, steps: int) -> None:
    size = torch.arange(1, 50)
    left = torch.stack([size, *(remaining(name, step, steps, size) for step in range(steps))])
    assert (left.diff(dim=0) <= 0).all() and (left >= 0).all() and (left[-1] == 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_fall_from_all_to_none(name: str) -> None:
    progress = torch.linspace(0, 1, 101)
    share = SCHEDULES[name](progress)
    assert abs(float(share[0]) - 1) < 1e-6 and abs(float(share[-1])) < 1e-6 and (share.diff() < 0).all()
    size = torch.arange(1, 50)
    for u in (0.0, 0.3, 0.999999):
        count = hidden_count(name, torch.tensor(u), size)  # type: ignore[arg-type]
        assert (count >= 1).all() and (count <= size).all()
    assert (remaining(name, 7, 8, size) == 0).all() and (remaining(name, 0, 8, size) < size).all()  # type: ignore[arg-type]


def test_cosine_and_arccos_hide_two_over_pi_on_average_by_different_laws() -> None:
    u = (torch.arange(100000) + 0.5) / 100000
    cosine, arccos = SCHEDULES["cosine"](u), SCHEDULES["arccos"](u)
    assert abs(float(cosine.mean()) - 2 / math.pi) < 1e-4 and abs(float(arccos.mean()) - 2 / math.pi) < 1e-4
    assert abs(float(cosine.std() - arccos.std())) > 0.05


def test_published_decoding_counts() -> None:
    """Positions known after each of 8 steps over 256: MaskGIL's own code, and MaskGIT's floor of the cosine law."""
    known = {
        "arccos_counts": [1, 19, 45, 77, 115, 158, 206, 256],
        "cosine": [5, 20, 44, 75, 114, 159, 207, 256],
        "arccos": [21, 42, 63, 86, 111, 139, 174, 256],
    }
    for name, expected in known.items():
        assert [256 - int(remaining(name, step, 8, torch.tensor([256]))) for step in range(8)] == expected  # type: ignore[arg-type]


def test_choice_noise_anneals_as_in_maskgits_own_code() -> None:
    """(1 - (s + 1) / T) of it in step s of T, so that all four of these steps rank by that much noise, and the last by
    none.
    """
    keys, size, noise, seen = Draws(0, torch.arange(3)), 8, 3.0, []
    codes = torch.zeros(3, size, 1, dtype=torch.int64)
    flat = torch.zeros(3, size, 1, 2, dtype=torch.float64)
    ramp = torch.stack([torch.linspace(0, 4, size).double(), torch.zeros(size).double()], -1)[None, :, None]

    def predict(tokens: torch.Tensor, committed: torch.Tensor) -> torch.Tensor:
        seen.append(committed.clone())
        return flat + ramp

    states = list(unmask(predict, codes, codes[..., 0] > 0, Decoding(noise=noise), "linear", 4, keys, "x"))
    for step, (before, (_, after)) in enumerate(zip(seen, states, strict=True)):
        probs = (flat + ramp).softmax(-1)
        drawn = draw(probs, keys.uniform(f"x/token/{step}", size, 1))
        score = probs.gather(-1, drawn[..., None])[..., 0, 0].log()
        score = score + noise * (1 - (step + 1) / 4) * keys.gumbel(f"x/order/{step}", size)
        assert torch.equal(after & ~before, top(score, ~before, torch.full((3,), 2)))


def test_guidance_conventions() -> None:
    c, u, guide = torch.tensor([2.0]), torch.tensor([1.0]), CategoricalHead(CODES, 8).guide
    assert guide(c, u, 1.0) == c and guide(c, u, 0.0) == u and guide(c, u, 3.0) == 4.0
    progress = torch.tensor([0.0, 0.5, 1.0])
    assert Guidance(3.0).at(progress).tolist() == [3.0, 3.0, 3.0]
    assert Guidance(3.0, "linear").at(progress).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("size", "group"), [(10, None), (18, None), (36, None), (6, 2), (5, 1), (13, None)])
def test_bits_heads_split_join_and_normalise(size: int, group: int | None) -> None:
    head = BitsHead(TokenSpec("bits", size, (1, 1, 1)), 8, group).double()
    torch.nn.init.normal_(head.project.weight)
    values = torch.randint(0, 2**size, (3, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(head.join(head.split(values)), values) and head.split(values).max() < head.choices
    if size <= 6:
        features = torch.randn(1, 8).double()
        every = torch.arange(2**size)
        assert abs(float((-head.nats(features.expand(2**size, 8), every).detach()).exp().sum()) - 1) < 1e-9


def test_heads_start_uniform() -> None:
    features = torch.randn(2, 3, 8)
    bits = TokenSpec("bits", 18, (1, 1, 1))
    for head, nats in [(CategoricalHead(CODES, 8), math.log(4)), (BitsHead(bits, 8), 18 * math.log(2))]:
        torch.testing.assert_close(head.nats(features, torch.zeros(2, 3, dtype=torch.int64)), torch.full((2, 3), nats))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.5},
        {"noise": -1},
        {"threshold": 2},
        {"entropy_bound": -1},
        {"remask": "often"},
        {"remask_eta": 1.5},
        {"remask_at": -0.1},
        {"remask_share": 1.0},
        {"stop_entropy": -1},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        Decoding(**wrong)  # type: ignore[arg-type]


def test_rules_of_other_samplers_are_refused_and_those_that_are_off_are_not() -> None:
    Decoding(remask_eta=0.3).require_supported("here")
    Decoding(remask="cap", stop_entropy=1.0).require_supported("here", "remask", "stop_entropy")
    for rules, other, name in [
        (Decoding(remask="loop"), "stop_entropy", "remask"),
        (Decoding(stop_entropy=0.5), "remask", "stop_entropy"),
    ]:
        with pytest.raises(UserError, match=f"{name} does nothing in here") as raised:
            rules.require_supported("here", other)
        assert "\n" not in str(raised.value)

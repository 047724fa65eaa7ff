import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgen.apps.demo.budget import estimate, plan_samples, plan_steps, set_up_seconds

SAMPLES = (500, 400, 300, 200, 100)


def test_a_quick_machine_does_all_of_the_recipes_and_a_slow_one_as_much_as_there_is_time_for() -> None:
    assert (plan_steps(3000, 400, 150), plan_samples(SAMPLES, 40, 30)) == (3000, 500)
    assert (plan_steps(3000, 300, 600), plan_samples(SAMPLES, 40, 90)) == (1230, 200)
    assert (plan_steps(3000, -50, 600), plan_samples(SAMPLES, -50, 90)) == (
        300,
        100,
    )


@given(st.integers(1, 10_000), st.floats(-100, 2000), st.floats(1, 5000))
def test_it_never_plans_more_than_the_recipe_or_the_time(wanted: int, left: float, needed: float) -> None:
    steps = plan_steps(wanted, left, needed)
    assert 1 <= steps <= wanted and (steps == wanted or steps % 30 == 0)
    assert steps / wanted * needed <= left or steps <= max(30, 0.1 * wanted)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "5 s"), (12, "10 s"), (54, "55 s"), (58, "1 min"), (100, "1.5 min"), (430, "7 min"), (700, "12 min")],
)
def test_estimates_claim_no_precision(seconds: float, text: str) -> None:
    assert estimate(seconds) == text


@pytest.mark.parametrize(
    ("started", "seconds"), [("880", 120), (None, 0), ("", 0), ("soon", 0), ("2000", 0), (str(1000 - 2 * 86_400), 0)]
)
def test_the_set_up_counts_if_its_beginning_is_known(started: str | None, seconds: float) -> None:
    assert set_up_seconds(started, 1000.0) == seconds

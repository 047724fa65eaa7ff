from hypothesis import given
from hypothesis import strategies as st

from mmgen.apps.demo.plan import Costs, make_plan

SAMPLES = (500, 400, 300, 200, 100)


def test_a_quick_machine_does_all_of_the_recipes_and_a_slow_one_as_much_as_there_is_time_for() -> None:
    quick = make_plan(400, Costs(150, 0.05), 10, SAMPLES)
    assert (quick.steps(3000), quick.samples) == (3000, 500)
    slow = make_plan(400, Costs(600, 0.05), 10, SAMPLES)
    assert 0.9 * 400 < slow.training + slow.sampling + 10 <= 400
    assert slow.steps(3000) % 30 == 0


def test_there_is_something_to_see_even_when_the_time_is_up() -> None:
    late = make_plan(-50, Costs(600, 0.5), 10, SAMPLES)
    assert (late.steps(3000), late.samples) == (300, 100)


@given(st.floats(-100, 2000), st.integers(1, 10_000), st.floats(1, 5000), st.floats(0.001, 2), st.floats(0, 60))
def test_it_never_plans_more_than_the_recipes_or_the_time(
    left: float, wanted: int, training: float, sample: float, rest: float
) -> None:
    plan = make_plan(left, Costs(training, sample), rest, SAMPLES)
    assert 1 <= plan.steps(wanted) <= wanted
    assert plan.training + plan.sampling + rest <= left + 1e-6 or plan.share == 0.1

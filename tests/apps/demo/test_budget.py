from hypothesis import given
from hypothesis import strategies as st

from mmgen.apps.demo.budget import LEAST, ROUND, Measured, plan

SAMPLES = (500, 400, 300, 200, 100)
seconds = st.floats(0.001, 2.0)


def test_a_quick_machine_does_all_of_the_recipe() -> None:
    made = plan(left=400, wanted=3000, measured=Measured(step=0.05, fit=5, sample=0.05), rest=10, counts=SAMPLES)
    assert (made.steps, made.samples) == (3000, SAMPLES[0])
    assert made.training == 3000 * 0.05 + 5


def test_a_slow_machine_trains_as_long_as_there_is_time() -> None:
    made = plan(left=400, wanted=3000, measured=Measured(step=0.2, fit=5, sample=0.05), rest=10, counts=SAMPLES)
    assert 0.9 * 400 < made.training + made.sampling + 10 <= 400
    assert made.steps % ROUND == 0


def test_sampling_that_takes_time_whatever_the_number_counts_as_well() -> None:
    measured = [Measured(step=0.05, fit=5, sample=0.1, always=always) for always in (0.0, 35.0)]
    few, many = (plan(400, 3000, each, rest=10, counts=SAMPLES) for each in reversed(measured))
    assert (many.samples, many.sampling) == (500, 50)
    assert (few.samples, few.sampling) == (400, 75)


def test_there_is_something_to_see_even_when_the_time_is_up() -> None:
    made = plan(left=-50, wanted=3000, measured=Measured(step=0.2, fit=5, sample=0.5), rest=10, counts=SAMPLES)
    assert (made.steps, made.samples) == (LEAST * 3000, SAMPLES[-1])


@given(st.floats(-100, 2000), st.integers(1, 10_000), seconds, st.floats(0, 30), seconds, st.floats(0, 60))
def test_it_never_plans_more_than_the_recipe_or_the_time(
    left: float, wanted: int, step: float, fit: float, sample: float, rest: float
) -> None:
    made = plan(left, wanted, Measured(step, fit, sample), rest, SAMPLES)
    assert 1 <= made.steps <= wanted
    assert made.training + made.sampling + rest <= left or made.steps <= max(ROUND, LEAST * wanted)

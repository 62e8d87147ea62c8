import math

import pytest

from minilm.errors import InputError
from minilm.training.schedule import SCHEDULES, Budget, constant, warmup_cosine, warmup_linear


def learning_rates_of_a_run(schedule, steps):
    budget = Budget(steps=steps)
    return [schedule(budget.progress(n + 0.5, 0, 0)) for n in range(steps)]


@pytest.mark.parametrize(
    ("progress", "learning_rate"), [(0, 0), (0.05, 0.25), (0.2, 1), (0.4, 0.75), (0.6, 0.5), (0.8, 0.25), (1, 0)]
)
def test_F03_linear_goes_up_over_the_warmup_and_down_to_zero(progress, learning_rate):
    assert warmup_linear(progress, warmup=0.2) == pytest.approx(learning_rate, abs=1e-12)


@pytest.mark.parametrize(
    ("progress", "learning_rate"),
    [(0, 0), (0.1, 0.5), (0.2, 1), (0.4, 0.1 + 0.45 * (1 + math.sqrt(0.5))), (0.6, 0.55), (1, 0.1)],
)
def test_F03_cosine_runs_over_what_comes_after_the_warmup(progress, learning_rate):
    assert warmup_cosine(progress, warmup=0.2, floor=0.1) == pytest.approx(learning_rate, abs=1e-12)


def test_F03_constant_may_warm_up():
    assert [constant(p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [constant(p, warmup=0.5) for p in (0, 0.25, 0.5, 1)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize("schedule", SCHEDULES.values())
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 1000])
def test_no_step_is_taken_at_learning_rate_zero(schedule, steps):
    learning_rates = learning_rates_of_a_run(schedule, steps)
    assert 0 < min(learning_rates) and max(learning_rates) <= 1


@pytest.mark.parametrize("schedule", SCHEDULES.values())
def test_the_curves_have_no_jump_and_no_warmup_starts_at_the_peak(schedule):
    curve = [schedule(i / 10_000) for i in range(10_001)]
    assert max(abs(a - b) for a, b in zip(curve, curve[1:], strict=False)) <= 1 / 500 + 1e-9  # the warm-up's slope
    assert schedule(0.0, warmup=0.0) == 1


def test_a_longer_run_is_the_same_curve_drawn_out():
    short, long = learning_rates_of_a_run(warmup_linear, 100), learning_rates_of_a_run(warmup_linear, 300)
    assert long[1::3] == pytest.approx(short, abs=1e-12)


def test_a_clock_that_runs_over_does_not_turn_the_learning_rate_round():
    assert warmup_linear(1.1) == warmup_linear(1.0) == 0
    assert warmup_cosine(1.1, floor=0.2) == pytest.approx(0.2)
    assert warmup_linear(-0.1) == 0


@pytest.mark.parametrize("schedule", SCHEDULES.values())
@pytest.mark.parametrize("warmup", [-0.1, 1.0, math.nan])
def test_a_warmup_that_is_no_part_of_the_run_is_refused(schedule, warmup):
    with pytest.raises(InputError, match=f"warmup must be at least 0 and below 1, not {warmup}"):
        schedule(0.5, warmup=warmup)


def test_a_floor_above_the_peak_and_a_progress_that_is_no_number_are_refused():
    with pytest.raises(InputError, match="floor must be from 0 to 1, not 2"):
        warmup_cosine(0.5, floor=2)
    with pytest.raises(InputError, match="progress is not a number"):
        warmup_linear(math.nan)


@pytest.mark.parametrize(
    ("budget", "half", "text"),
    [
        (Budget(steps=500), (250, 9, 9), "500 steps"),
        (Budget(tokens=1_000_000), (9, 500_000, 9), "1,000,000 tokens"),
        (Budget(minutes=2.5), (9, 9, 75), "2.5 minutes"),
        (Budget(steps=1), (0.5, 9, 9), "1 step"),
        (Budget(minutes=1), (9, 9, 30), "1 minute"),
        (Budget(minutes=10.0), (9, 9, 300), "10 minutes"),
    ],
)
def test_a_budget_measures_in_its_own_unit(budget, half, text):
    assert str(budget) == text
    assert budget.progress(*half) == 0.5
    assert not budget.done(*half)
    assert budget.progress(0, 0, 0) == 0
    twice, thrice = [2 * x for x in half], [3 * x for x in half]
    assert budget.progress(*twice) == 1 and budget.done(*twice)
    assert budget.progress(*thrice) == 1 and budget.done(*thrice)


def test_the_last_step_but_one_is_not_the_last():
    assert not Budget(steps=3).done(2, 0, 0)
    assert Budget(steps=3).done(3, 0, 0)


@pytest.mark.parametrize("given", [{}, {"steps": 5, "minutes": 1.0}, {"steps": 5, "tokens": 5, "minutes": 1.0}])
def test_a_budget_is_exactly_one_thing(given):
    with pytest.raises(InputError, match="exactly one of steps, tokens and minutes"):
        Budget(**given)


@pytest.mark.parametrize("given", [{"steps": 0}, {"tokens": -1}, {"minutes": math.nan}, {"minutes": math.inf}])
def test_a_budget_is_positive(given):
    ((unit, amount),) = given.items()
    with pytest.raises(InputError, match=f"{unit} must be a positive number, not {amount}"):
        Budget(**given)

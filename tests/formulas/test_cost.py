import numpy as np
import pytest

from minilm.errors import InputError
from minilm.formulas.cost import attention_cost, recurrence_cost, sequential_steps, whole_sizes

T, d, H = 7, 6, 3


class Counted:
    """A number that counts its multiplications, so that we can check the formula by really doing the products."""

    made = 0

    def __mul__(self, other):
        Counted.made += 1
        return self

    def __add__(self, other):
        return self


def numbers(*shape):
    return np.full(shape, Counted(), dtype=object)


@pytest.fixture(autouse=True)
def from_zero():
    Counted.made = 0


@pytest.mark.parametrize("heads", [1, H])
def test_F22_attention_cost_is_what_the_products_of_attention_make(heads):
    for _ in range(heads):
        q, k, v = (numbers(T, d // heads) for _ in range(3))
        weights = q @ k.T  # [T, T]; the softmax is not counted
        weights @ v
    assert Counted.made == attention_cost(T, d) == 2 * 7 * 7 * 6


def test_F22_the_projections_are_four_products_more():
    x = numbers(T, d)
    for _ in range(4):
        x @ numbers(d, d)
    assert Counted.made == attention_cost(T, d, projections=True) - attention_cost(T, d) == 4 * 7 * 6 * 6
    assert attention_cost(12, 6, projections=True) == 2 * attention_cost(12, 6)  # equally large at T = 2d


def test_F22_recurrence_cost_is_what_its_T_steps_make():
    W_h, W_x, h = numbers(d, d), numbers(d, d), numbers(d)
    for x in numbers(T, d):
        h = W_h @ h + W_x @ x
    assert Counted.made == recurrence_cost(T, d) == 2 * 7 * 6 * 6


def test_F22_attention_grows_with_the_square_of_T_and_recurrence_with_the_square_of_d():
    assert attention_cost(2 * T, d) == 4 * attention_cost(T, d) and attention_cost(T, 2 * d) == 2 * attention_cost(T, d)
    assert recurrence_cost(2 * T, d) == 2 * recurrence_cost(T, d)
    assert recurrence_cost(T, 2 * d) == 4 * recurrence_cost(T, d)
    assert attention_cost(d, d) == recurrence_cost(d, d)  # they cross at T = d
    assert attention_cost(d - 1, d) < recurrence_cost(d - 1, d)
    assert attention_cost(d + 1, d) > recurrence_cost(d + 1, d)


def test_F22_only_recurrence_waits():
    assert sequential_steps(T, "recurrence") == T and sequential_steps(T, "attention") == 1


def test_F22_numpy_sizes_do_not_overflow():
    large = np.int32(100_000)
    assert attention_cost(large, large) == recurrence_cost(large, large) == 2 * 10**15


@pytest.mark.parametrize("wrong", [0, -3, True])
def test_F22_sizes_that_count_nothing_are_named(wrong):
    for cost in (attention_cost, recurrence_cost):
        with pytest.raises(InputError, match="T is .*, but it must be a whole number of at least 1"):
            cost(wrong, d)
        with pytest.raises(InputError, match="d is .*, but it must be a whole number of at least 1"):
            cost(T, wrong)
    with pytest.raises(InputError, match="T is"):
        sequential_steps(wrong, "attention")


@pytest.mark.parametrize("wrong", [2.0, "7", None])
def test_F22_what_is_no_whole_number_is_named(wrong):
    with pytest.raises(InputError, match="d is .*, but it must be a whole number of at least 1"):
        whole_sizes(T=T, d=wrong)


def test_F22_an_unknown_kind_is_named():
    with pytest.raises(InputError, match="kind 'convolution' is not known: choose one of attention, recurrence"):
        sequential_steps(T, "convolution")

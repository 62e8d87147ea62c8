"""When curves are measured, and how sudden they are: against curves of which the answer is known.  F36."""

import numpy as np
import pytest

from minilm.experiments.emergence.moments import moments, width_of_change


def test_F36_moments_lie_evenly_on_a_logarithmic_axis():
    found = moments(10_000, 5)
    assert found == [1, 10, 100, 1_000, 10_000]
    few = moments(10, 30)
    assert few == list(range(1, 11)) and moments(1, 4) == [1]


def test_F36_the_width_of_a_change_is_that_of_a_known_curve():
    x = np.exp(np.linspace(0, 6, 601))
    line = np.log(x) / 6  # 20 % at e^1.2, 80 % at e^4.8
    assert width_of_change(x, line, 0.0, 1.0) == pytest.approx(np.exp(3.6), rel=1e-9)
    assert width_of_change(x, 5 - 5 * line, 5.0, 0.0) == pytest.approx(np.exp(3.6), rel=1e-9)  # a loss that falls
    assert width_of_change(x, line**4, 0.0, 1.0) == pytest.approx(np.exp(6 * (0.8**0.25 - 0.2**0.25)), rel=1e-3)


def test_F36_a_jump_has_the_width_of_the_gap_between_two_measurements_at_most():
    assert width_of_change([1, 2, 4, 8], [0, 0, 1, 1], 0.0, 1.0) == pytest.approx(2**0.6)
    assert width_of_change([1, 2, 4], [1, 1, 1], 0.0, 1.0) == 1.0  # it was there from the start


def test_F36_what_never_comes_has_no_width():
    assert width_of_change([1, 2, 4], [0, 0.3, 0.7], 0.0, 1.0) == np.inf
    assert width_of_change([1, 2, 4], [0, 0.0, 0.1], 0.0, 1.0) == np.inf

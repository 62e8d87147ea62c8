"""CUSUM against its other form, the most likely beginning of a change, tried one by one."""

import numpy as np
import pytest

from minilm.formulas.cusum import alarms, cusum, evidence

Z = np.random.default_rng(0).normal(-0.2, 1, size=(3, 2, 40))


def test_s_is_the_largest_sum_that_ends_now():
    S = cusum(Z)
    for place in np.ndindex(3, 2):
        z = Z[place]
        for t in range(40):
            assert S[place][t] == pytest.approx(max(0, *(z[s : t + 1].sum() for s in range(t + 1))), abs=1e-12)


def test_it_goes_on_from_where_it_stood():
    S = cusum(Z)
    assert np.allclose(cusum(Z[..., 15:], S[..., 14]), S[..., 15:], atol=0)


def test_the_evidence_is_the_log_of_a_ratio_of_probabilities():
    z = evidence(0.3, 0.8)
    assert np.exp(z) == pytest.approx([0.2 / 0.7, 0.8 / 0.3])
    assert 0.7 * np.exp(z[0]) + 0.3 * np.exp(z[1]) == pytest.approx(1)  # E₀ of a likelihood ratio
    with pytest.raises(ValueError, match="above 0 and below 1, not 0 and"):
        evidence(0, 0.5)


def test_the_first_alarm_is_where_s_exceeds_h_and_the_next_one_starts_from_0():
    h = 1.5
    found = alarms(Z, h)
    for place in np.ndindex(3, 2):
        start, expected = 0, np.zeros(40, dtype=bool)
        while (over := np.flatnonzero(cusum(Z[place][start:]) > h)).size:
            expected[start + over[0]] = True
            start += over[0] + 1
        assert (found[place] == expected).all()
    assert found.sum() > 6  # some of them after another

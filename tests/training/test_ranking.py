"""hit@k and nDCG@k against scikit-learn, which averages over ties as well, and against every order of the ties."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from minilm.training.ranking import hit_at, ndcg_at, places_of

RNG = np.random.default_rng(0)
SCORES = RNG.integers(0, 6, (30, 23)).astype(float)  # many ties
RIGHT = RNG.integers(0, 23, 30)
NONE = np.zeros(SCORES.shape, dtype=bool)


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_ndcg_is_that_of_scikit_learn(k):
    relevant = np.zeros(SCORES.shape)
    relevant[np.arange(30), RIGHT] = 1
    found = ndcg_at(k, places_of(SCORES, RIGHT, NONE))
    expected = [ndcg_score(relevant[[i]], SCORES[[i]], k=k) for i in range(30)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_both_are_means_over_every_order_of_the_ties():
    scores, right = np.array([[2.0, 1.0, 2.0, 2.0, 0.0]]), np.array([2])
    places = [order.index(2) + 1 for order in permutations([0, 2, 3])]  # of the films with the highest score
    found = places_of(scores, right, NONE[:1, :5])
    assert hit_at(2, found) == pytest.approx([np.mean([p <= 2 for p in places])])
    assert ndcg_at(2, found) == pytest.approx([np.mean([1 / np.log2(1 + p) if p <= 2 else 0 for p in places])])


def test_what_is_left_out_does_not_count():
    left_out = RNG.random(SCORES.shape) < 0.4
    left_out[np.arange(30), RIGHT] = False
    found = places_of(SCORES, RIGHT, left_out)
    low = np.where(left_out, -1.0, SCORES)
    assert hit_at(5, found) == pytest.approx(hit_at(5, places_of(low, RIGHT, NONE)))
    assert not np.allclose(hit_at(5, found), hit_at(5, places_of(SCORES, RIGHT, NONE)))
    with pytest.raises(ValueError, match="must not be left out"):
        places_of(SCORES, RIGHT, ~left_out)

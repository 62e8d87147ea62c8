"""The reference for every test here is the sum, or the maximum, over all Kᵀ paths, computed one path at a time."""

import itertools

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from sklearn.metrics import f1_score

from minilm.errors import InputError
from minilm.formulas import crf

B, T, K = 4, 5, 3
LENGTHS = [5, 3, 1, 4]
NAMES = ["E", "A", "start", "end"]


@pytest.fixture
def scores():
    rng = np.random.default_rng(11)
    return [rng.normal(scale=2, size=shape) for shape in ((B, T, K), (K, K), K, K)]


@pytest.fixture
def attention_mask():
    return np.arange(T) < np.array(LENGTHS)[:, None]


@pytest.fixture
def y(attention_mask):
    return np.where(attention_mask, np.random.default_rng(12).integers(K, size=(B, T)), -100)


def score_of(E, A, start, end, path):
    total = start[path[0]] + end[path[-1]] + sum(E[t, k] for t, k in enumerate(path))
    return total + sum(A[i, j] for i, j in itertools.pairwise(path))


def all_paths(E, A, start, end, length):
    """Every path of one sentence and its score."""
    paths = list(itertools.product(range(K), repeat=length))
    return np.array(paths), np.array([score_of(E, A, start, end, path) for path in paths])


def torch_loss(E, A, start, end, y, attention_mask):
    """The same loss written differently: one sentence at a time, with torch.logsumexp and without any mask."""
    total = 0
    for e, tags, n in zip(E, torch.as_tensor(y), attention_mask.sum(1)):
        tags, alpha = tags[:n], start + e[0]
        for t in range(1, n):
            alpha = torch.logsumexp(alpha[:, None] + A, dim=0) + e[t]
        score = start[tags[0]] + e[torch.arange(int(n)), tags].sum() + A[tags[:-1], tags[1:]].sum() + end[tags[-1]]
        total = total + torch.logsumexp(alpha + end, dim=0) - score
    return total / len(E)


def test_F31_path_score_is_the_sum_of_its_parts(scores, y, attention_mask):
    E, *rest = scores
    expected = [score_of(E[b], *rest, y[b, :n]) for b, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(crf.path_score(*scores, y, attention_mask), expected, atol=1e-12)


def test_F31_log_z_is_the_sum_over_all_paths(scores, attention_mask):
    E, *rest = scores
    expected = [np.log(np.exp(all_paths(E[b], *rest, n)[1]).sum()) for b, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(crf.log_z(*scores, attention_mask), expected, atol=1e-12)


def test_F31_all_paths_together_have_probability_one(scores):
    E, *rest = scores
    paths, _ = all_paths(E[0], *rest, T)
    many = [np.repeat(E[:1], len(paths), axis=0), *rest]
    log_p = crf.path_score(*many, paths) - crf.log_z(*many)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)


def test_F31_backward_reaches_the_same_log_z(scores, attention_mask):
    E, _, start, _ = scores
    beta = crf.backward(*scores, attention_mask)
    np.testing.assert_allclose(
        crf.log_sum_exp(start + E[:, 0] + beta[:, 0], axis=1), crf.log_z(*scores, attention_mask), atol=1e-12
    )


def test_F31_marginals_are_shares_of_all_paths(scores, attention_mask):
    E, *rest = scores
    p, q = crf.marginals(*scores, attention_mask)
    for b, n in enumerate(LENGTHS):
        paths, s = all_paths(E[b], *rest, n)
        weight = np.exp(s) / np.exp(s).sum()
        expected_p, expected_q = np.zeros((T, K)), np.zeros((T - 1, K, K))
        for path, w in zip(paths, weight):
            expected_p[np.arange(n), path] += w
            expected_q[np.arange(n - 1), path[:-1], path[1:]] += w
        np.testing.assert_allclose(p[b], expected_p, atol=1e-12)
        np.testing.assert_allclose(q[b], expected_q, atol=1e-12)


def test_F31_marginals_are_the_gradient_of_log_z_with_any_upstream(scores):
    upstream = np.random.default_rng(13).normal(size=B)
    p, q = crf.marginals(*scores)

    def torch_log_z(E, A, start, end):
        alpha = start + E[:, 0]
        for t in range(1, T):
            alpha = torch.logsumexp(alpha[:, :, None] + A, dim=1) + E[:, t]
        return torch.logsumexp(alpha + end, dim=1)

    value, dE, dA, dstart, dend = autograd(torch_log_z, *scores, upstream=upstream)
    np.testing.assert_allclose(crf.log_z(*scores), value, atol=1e-12)
    np.testing.assert_allclose(upstream[:, None, None] * p, dE, atol=1e-10)
    np.testing.assert_allclose(np.einsum("b,btij->ij", upstream, q), dA, atol=1e-10)
    np.testing.assert_allclose(upstream @ p[:, 0], dstart, atol=1e-10)
    np.testing.assert_allclose(upstream @ p[:, -1], dend, atol=1e-10)


def test_F31_loss_and_gradients_equal_autograd(scores, y, attention_mask):
    value, *expected = autograd(lambda *tensors: torch_loss(*tensors, y, attention_mask), *scores)
    assert crf.crf_loss(*scores, y, attention_mask) == pytest.approx(float(value), abs=1e-12)
    for name, ours, theirs in zip(NAMES, crf.crf_loss_gradients(*scores, y, attention_mask), expected):
        np.testing.assert_allclose(ours, theirs, atol=1e-10, err_msg=name)
        assert np.abs(theirs).max() > 1e-3


@pytest.mark.parametrize("which", range(4), ids=NAMES)
def test_F31_gradients_equal_finite_differences(scores, y, attention_mask, which):
    def loss(x):
        return crf.crf_loss(*scores[:which], x, *scores[which + 1 :], y, attention_mask)

    expected = finite_differences(loss, scores[which])
    np.testing.assert_allclose(crf.crf_loss_gradients(*scores, y, attention_mask)[which], expected, atol=1e-7)


def test_F31_viterbi_finds_the_best_of_all_paths(scores, attention_mask):
    E, *rest = scores
    y_hat, best = crf.viterbi(*scores, attention_mask)
    for b, n in enumerate(LENGTHS):
        paths, s = all_paths(E[b], *rest, n)
        np.testing.assert_array_equal(y_hat[b, :n], paths[s.argmax()])
        assert best[b] == pytest.approx(s.max(), abs=1e-12)
    assert (y_hat[~attention_mask] == -100).all()


def test_F31_viterbi_is_not_the_best_tag_at_each_word():
    """An expensive step makes a word give up the tag that it would choose alone."""
    E, A = np.array([[[0.0, 1.0], [1.0, 0.0]]]), np.array([[0.0, 0.0], [-5.0, 0.0]])
    y_hat, best = crf.viterbi(E, A, np.zeros(2), np.zeros(2))
    assert E.argmax(2).tolist() == [[1, 0]]
    assert y_hat.tolist() == [[0, 0]] and best.tolist() == [1.0]


def test_F31_of_equal_paths_the_lower_tags_win():
    y_hat, _ = crf.viterbi(np.zeros((1, 4, 3)), np.zeros((3, 3)), np.zeros(3), np.zeros(3))
    assert y_hat.tolist() == [[0, 0, 0, 0]]


def test_F31_padding_changes_nothing(scores, y, attention_mask):
    """A sentence gets the same values in a batch with longer ones as alone, whatever its padding holds."""
    E, *rest = scores
    noisy = np.where(attention_mask[..., None], E, 1e6)
    for f in (crf.log_z, lambda *a: crf.path_score(*a[:4], y, a[4]), lambda *a: crf.viterbi(*a)[0]):
        np.testing.assert_array_equal(f(noisy, *rest, attention_mask), f(E, *rest, attention_mask))
    dE, dA, dstart, dend = crf.crf_loss_gradients(noisy, *rest, y, attention_mask)
    assert (dE[~attention_mask] == 0).all()
    alone = [crf.crf_loss_gradients(E[b : b + 1, :n], *rest, y[b : b + 1, :n]) for b, n in enumerate(LENGTHS)]
    for b, n in enumerate(LENGTHS):
        np.testing.assert_allclose(dE[b, :n], alone[b][0][0] / B, atol=1e-12)
    for ours, parts in zip((dA, dstart, dend), list(zip(*alone))[1:]):
        np.testing.assert_allclose(ours, np.mean(parts, axis=0), atol=1e-12)


def test_F31_without_transitions_it_is_the_softmax_at_every_word(scores):
    E = scores[0]
    zero = np.zeros((K, K)), np.zeros(K), np.zeros(K)
    p, q = crf.marginals(E, *zero)
    np.testing.assert_allclose(p, torch.tensor(E).softmax(-1), atol=1e-12)
    np.testing.assert_allclose(q, p[:, :-1, :, None] * p[:, 1:, None, :], atol=1e-12)


def test_F31_survives_scores_of_ten_thousand(scores):
    E, *rest = scores
    assert np.isfinite(crf.log_z(1e4 * E, *rest)).all()
    np.testing.assert_allclose(crf.log_z(E + 1e4, *rest), crf.log_z(*scores) + 1e4 * T, rtol=1e-12)


def test_F31_a_forbidden_step_is_never_taken(scores, attention_mask):
    E, A, start, end = scores
    A = A.copy()
    A[0, 2] = -np.inf
    y_hat, _ = crf.viterbi(E + np.array([5.0, 0, 5]), A, start, end, attention_mask)
    p, q = crf.marginals(E, A, start, end, attention_mask)
    assert not [1 for row in y_hat.tolist() if (0, 2) in itertools.pairwise(row)]
    assert (q[..., 0, 2] == 0).all()
    np.testing.assert_allclose(p.sum(2), attention_mask, atol=1e-12)
    path = np.array([[0, 2]])
    assert crf.crf_loss(E[:1, :2], A, start, end, path) == np.inf  # the true path is forbidden
    assert np.isfinite(crf.crf_loss_gradients(E[:1, :2], A, start, end, path)[0]).all()


# ---------------------------------------------------------------------------------- "minimise F1", as printed


def test_F31_F1_as_printed_is_that_of_the_best_path_without_O(scores, y, attention_mask):
    E, *rest = scores
    best = [paths[s.argmax()] for paths, s in (all_paths(e, *rest, n) for e, n in zip(E, LENGTHS))]
    expected = f1_score(y[attention_mask], np.concatenate(best), labels=[1, 2], average="micro")
    assert crf.f1_objective_as_printed(*scores, y, attention_mask) == pytest.approx(expected, abs=1e-12)
    assert (
        0 < expected != np.mean(y[attention_mask] == np.concatenate(best))
    )  # with O included it would be the accuracy


def test_F31_F1_as_printed_has_no_gradient_where_the_loss_has_one(scores, y, attention_mask):
    for which in range(4):
        slope = finite_differences(
            lambda x, k=which: crf.f1_objective_as_printed(*scores[:k], x, *scores[k + 1 :], y, attention_mask),
            scores[which],
        )
        assert (slope == 0).all(), NAMES[which]
        assert np.abs(crf.crf_loss_gradients(*scores, y, attention_mask)[which]).max() > 0.01


def test_F31_F1_as_printed_jumps_and_is_smallest_for_the_worst_tagger(scores, y, attention_mask):
    zero = np.zeros((K, K)), np.zeros(K), np.zeros(K)
    right = np.eye(K)[np.where(attention_mask, y, 0)]
    wrong = np.roll(right, 1, axis=2)
    F1 = [crf.f1_objective_as_printed(E, *zero, y, attention_mask) for E in (right, wrong)]
    loss = [crf.crf_loss(E, *zero, y, attention_mask) for E in (right, wrong)]
    assert F1 == [1.0, 0.0]  # "minimised" by being wrong everywhere
    assert loss[0] < loss[1]
    between = {
        round(crf.f1_objective_as_printed(E, *zero, y, attention_mask), 12) for E in np.linspace(right, wrong, 101)
    }
    assert len(between) <= 3  # a hundred steps from right to wrong, with hardly any value between


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(E=np.zeros((B, T))), "E has shape"),
        (dict(E=np.zeros((0, T, K))), "E is empty"),
        (dict(A=np.zeros((K, K + 1))), "A has shape"),
        (dict(start=np.zeros(K + 1)), "start has shape"),
        (dict(end=np.zeros((K, 1))), "end has shape"),
        (dict(y=np.zeros((B, T + 1), dtype=int)), "y has shape"),
        (dict(y=np.full((B, T), K)), f"y holds the class {K}"),
        (dict(y=np.full((B, T), -100)), "y holds the class -100"),
        (dict(y=np.zeros((B, T))), "y has the type float64"),
        (dict(attention_mask=np.ones((B, T - 1), dtype=bool)), "attention_mask has shape"),
        (dict(attention_mask=np.zeros((B, T), dtype=bool)), "a row without words"),
        (dict(attention_mask=np.tile([True, False, True, True, True], (B, 1))), "a word after padding"),
        (dict(A=np.full((K, K), -np.inf)), "has no allowed path"),
    ],
)
def test_F31_bad_input_is_named(scores, y, attention_mask, change, says):
    given = dict(zip(NAMES, scores), y=np.where(attention_mask, y, 0), attention_mask=attention_mask) | change
    with pytest.raises(InputError, match=says):
        crf.crf_loss_gradients(**given)

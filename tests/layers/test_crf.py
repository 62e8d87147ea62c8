"""The CRF beside every path written out, beside `pytorch-crf`, beside NumPy's formulas, and beside finite differences.  F31."""

import itertools

import numpy as np
import pytest
import torch
import torchcrf
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

from minilm.errors import InputError
from minilm.formulas import crf as formulas
from minilm.layers.crf import CRF, IGNORED
from minilm.training.losses import crf_loss, cross_entropy, labelled_first


def drawn(seed, lengths, K, allowed=None, scale=1.0):
    """A CRF with random scores in float64, emissions, tags (a path that is allowed), and the mask of ragged sentences."""
    generator = torch.Generator().manual_seed(seed)
    crf = CRF(K, allowed).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    B, T = len(lengths), max(1, *lengths)
    attention_mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    E = scale * torch.randn(B, T, K, generator=generator, dtype=torch.float64)
    y = torch.randint(0, K, (B, T), generator=generator)
    if allowed is not None:
        for b, n in enumerate(lengths):
            paths = list(paths_of(K, n, allowed))
            y[b, :n] = torch.tensor(paths[int(torch.randint(len(paths), (), generator=generator))])
    E = E.masked_fill(~attention_mask[..., None], torch.nan)  # nothing may look at padding
    return crf, E, y.masked_fill(~attention_mask, IGNORED), attention_mask


def steps_of(path, K, begins=True, ends=True):
    """The steps of a path; the start and the end are the tag K."""
    whole = [K] * begins + [*path] + [K] * ends
    return list(itertools.pairwise(whole))


def paths_of(K, n, allowed=None, begins=True, ends=True):
    for path in itertools.product(range(K), repeat=n):
        if allowed is None or all(allowed[step] for step in steps_of(path, K, begins, ends)):
            yield path


def score_of(crf, E, path, begins=True, ends=True):
    """s(x, y), term by term."""
    s = sum((E[t, k] for t, k in enumerate(path)), E.new_zeros(()))
    s = s + sum(crf.A[i, j] for i, j in itertools.pairwise(path))
    return s + begins * crf.start[path[0]] + ends * crf.end[path[-1]] if len(path) else E.new_zeros(())


def random_steps(seed, K):
    """Some steps are forbidden, but tag 0 may always be next, so every tag can be left and some path is allowed."""
    allowed = torch.rand(K + 1, K + 1, generator=torch.Generator().manual_seed(seed)) < 0.6
    allowed[:, 0] = allowed[0, K] = True
    return allowed


def value_and_gradients(crf, E, loss):
    E = E.detach().requires_grad_()
    value = loss(E)
    return value.detach(), *torch.autograd.grad(value.sum(), [E, crf.A, crf.start, crf.end])


def assert_close(ours, theirs, atol=1e-11):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


WEIGHTS = torch.tensor(
    [1.0, -0.5, 2.0, 0.7, 3.0], dtype=torch.float64
)  # of the sentences in a sum, so that none is like another


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_F31_every_path_written_out(K, constrained, cut):
    """Value, gradient, log Z and the best path, of sentences of 1 to 5 words and of parts of cut sentences."""
    lengths = [5, 1, 4, 2, 3]
    allowed = random_steps(K, K) if constrained else None
    crf, E, y, attention_mask = drawn(10 * K, lengths, K, allowed)
    borders = (
        [(True, True)] * 5 if not cut else [(False, True), (True, False), (False, False), (True, True), (False, True)]
    )
    begins, ends = torch.tensor(borders).T

    def brute_log_z(E, b):
        paths = paths_of(K, lengths[b], allowed, *borders[b])
        return torch.stack([score_of(crf, E[b], path, *borders[b]) for path in paths]).logsumexp(0)

    def brute(E):
        return torch.stack(
            [brute_log_z(E, b) - score_of(crf, E[b], y[b, :n].tolist(), *borders[b]) for b, n in enumerate(lengths)]
        )

    expected = value_and_gradients(crf, E, lambda E: brute(E) * WEIGHTS)
    for by_hand in (True, False):
        ours = lambda E: crf(E, y, attention_mask, begins, ends, by_hand=by_hand) * WEIGHTS  # noqa: E731, B023
        assert_close(value_and_gradients(crf, E, ours), expected)
    if not cut:
        torch.testing.assert_close(crf.log_z(E, attention_mask), torch.stack([brute_log_z(E, b) for b in range(5)]))
        y_hat, score = crf.viterbi(E, attention_mask)
        for b, n in enumerate(lengths):
            best = max(paths_of(K, n, allowed), key=lambda path: score_of(crf, E[b], path).item())
            assert y_hat[b].tolist() == [*best] + [IGNORED] * (5 - n)
            assert float(score[b]) == pytest.approx(score_of(crf, E[b], best).item(), abs=1e-12)


def test_F31_pytorch_crf_is_equal_on_200_ragged_batches():
    rng = np.random.default_rng(0)
    for seed in range(200):
        B, T, K = rng.integers(1, 6), rng.integers(1, 9), rng.integers(1, 7)
        lengths = rng.integers(1, T + 1, B).tolist()
        crf, E, y, attention_mask = drawn(seed, lengths, int(K), scale=2.0)
        theirs = torchcrf.CRF(int(K), batch_first=True).double()
        with torch.no_grad():
            for mine, their in zip(parameters_of(crf), referee_parameters(theirs), strict=True):
                their.copy_(mine)
        clean, tags = E.nan_to_num(0), y.clamp(min=0)
        E0 = clean.requires_grad_()
        loss = -theirs(E0, tags, attention_mask, reduction="none")
        weights = WEIGHTS[: len(lengths)]
        expected = (
            loss,
            *torch.autograd.grad((loss * weights).sum(), [E0, *referee_parameters(theirs)], allow_unused=True),
        )
        expected = [torch.zeros_like(crf.A) if each is None else each.detach() for each in expected]  # one word: no A
        for by_hand in (True, False):
            E1 = E.detach().requires_grad_()
            loss = crf(E1, y, attention_mask, by_hand=by_hand)
            ours = loss.detach(), *torch.autograd.grad((loss * weights).sum(), [E1, *parameters_of(crf)])
            assert_close(ours, expected, atol=1e-9)
        paths = [row[:n].tolist() for row, n in zip(crf.viterbi(E, attention_mask)[0], lengths, strict=True)]
        assert paths == theirs.decode(clean.detach(), attention_mask)


def parameters_of(crf):
    return [crf.A, crf.start, crf.end]


def referee_parameters(theirs):
    return [theirs.transitions, theirs.start_transitions, theirs.end_transitions]


@pytest.mark.parametrize("constrained", [False, True])
def test_F31_the_formulas_in_numpy_are_equal(constrained):
    allowed = random_steps(3, 4) if constrained else None
    crf, E, y, attention_mask = drawn(5, [6, 2, 7, 1], 4, allowed)
    A, start, end = crf.A.detach().clone(), crf.start.detach().clone(), crf.end.detach().clone()
    if allowed is not None:
        A[~allowed[:4, :4]], start[~allowed[4, :4]], end[~allowed[:4, 4]] = -torch.inf, -torch.inf, -torch.inf
    given = E.nan_to_num(0).numpy(), A.numpy(), start.numpy(), end.numpy()
    mask, tags = attention_mask.numpy(), y.numpy()
    value, *gradients = value_and_gradients(crf, E, lambda E: crf(E, y, attention_mask))
    assert float(value.mean()) == pytest.approx(formulas.crf_loss(*given, tags, mask), abs=1e-12)
    for ours, theirs in zip(gradients, formulas.crf_loss_gradients(*given, tags, mask), strict=True):
        np.testing.assert_allclose(ours.numpy() / len(E), theirs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(crf.log_z(E, attention_mask).detach(), formulas.log_z(*given, mask), rtol=0, atol=1e-12)
    y_hat, score = crf.viterbi(E, attention_mask)
    np.testing.assert_array_equal(y_hat, formulas.viterbi(*given, mask)[0])
    np.testing.assert_allclose(score.detach(), formulas.viterbi(*given, mask)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("constrained", [False, True])
def test_F31_finite_differences(constrained, by_hand):
    crf, E, y, attention_mask = drawn(7, [4, 1, 3], 3, random_steps(9, 3) if constrained else None)
    begins, ends = torch.tensor([True, False, True]), torch.tensor([False, True, True])

    def loss(E, *scores):
        named = dict(zip(("A", "start", "end"), scores, strict=True))
        return torch.func.functional_call(crf, named, (E, y, attention_mask, begins, ends, by_hand))

    inputs = [
        E.nan_to_num(0).requires_grad_(),
        *(each.detach().clone().requires_grad_() for each in parameters_of(crf)),
    ]
    assert gradcheck(loss, inputs, eps=1e-6, atol=1e-7)


def test_F31_gradient_by_hand_is_not_differentiated_twice():
    crf, E, y, attention_mask = drawn(1, [3, 2], 3)
    with pytest.raises(RuntimeError, match="cannot be differentiated again: pass by_hand=False"):
        torch.autograd.grad(crf(E, y, attention_mask).sum(), crf.A, create_graph=True)
    (dA,) = torch.autograd.grad(crf(E, y, attention_mask, by_hand=False).sum(), crf.A, create_graph=True)
    assert torch.autograd.grad(dA.square().sum(), crf.A)[0].isfinite().all()


def test_F31_tags_that_nothing_leads_to_give_no_nan():
    """Tag 2 follows tag 1 alone, and tag 1 cannot begin: at the first two words tag 2 has the score −∞."""
    allowed = torch.ones(4, 4, dtype=torch.bool)
    allowed[:, 2], allowed[1, 2], allowed[3, 1] = False, True, False
    for by_hand in (True, False):
        crf, E, y, attention_mask = drawn(2, [5, 1, 2], 3, allowed)
        E = E.float().requires_grad_()
        loss = crf.float()(E, y, attention_mask, by_hand=by_hand)
        loss.sum().backward()
        dE = E.grad[attention_mask]
        assert loss.isfinite().all() and dE.isfinite().all() and all(p.grad.isfinite().all() for p in crf.parameters())
        assert (E.grad[~attention_mask] == 0).all()
        assert (E.grad[:, 0, 1:] == 0).all() and (E.grad[[0, 2], 1, 2] == 0).all()
        assert (crf.A.grad[[0, 2], [2, 2]] == 0).all() and crf.start.grad[1:].abs().sum() == 0
        y_hat, score = crf.viterbi(E, attention_mask)
        assert score.isfinite().all() and all(
            allowed[step] for row, n in zip(y_hat, (5, 1, 2)) for step in steps_of(row[:n].tolist(), 3)
        )


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 6))
def test_F31_of_equal_paths_the_lower_tag_wins_as_in_the_formulas(seed, K, T):
    crf, E, _, attention_mask = drawn(seed, [T, max(1, T - 2)], K)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(parameter.round())
    E = E.nan_to_num(0).round()
    given = E.numpy(), *(parameter.detach().numpy() for parameter in parameters_of(crf))
    np.testing.assert_array_equal(
        crf.viterbi(E, attention_mask)[0], formulas.viterbi(*given, attention_mask.numpy())[0]
    )


def test_F31_scores_that_overflow_exp_are_exact():
    crf, E, y, attention_mask = drawn(3, [4, 2], 3, scale=1e4)
    value, *gradients = value_and_gradients(crf, E, lambda E: crf(E, y, attention_mask))
    expected = value_and_gradients(crf, E, lambda E: crf(E, y, attention_mask, by_hand=False))
    assert value.isfinite().all() and value.max() > 100
    assert_close([value, *gradients], expected, atol=1e-8)


def test_F31_a_sentence_without_words_costs_nothing():
    crf, E, y, attention_mask = drawn(4, [3, 0, 1], 3, random_steps(1, 3))
    for by_hand in (True, False):
        value, *gradients = value_and_gradients(crf, E, lambda E: crf(E, y, attention_mask, by_hand=by_hand))  # noqa: B023
        rest = torch.tensor([0, 2])
        alone = value_and_gradients(crf, E[rest], lambda E: crf(E, y[rest], attention_mask[rest], by_hand=by_hand))  # noqa: B023
        assert value[1] == 0 and (gradients[0][1] == 0).all() and crf.log_z(E, attention_mask)[1] == 0
        assert_close([value[rest], gradients[0][rest], *gradients[1:]], alone)
    y_hat, score = crf.viterbi(E, attention_mask)
    assert y_hat[1].tolist() == [IGNORED] * 3 and score[1] == 0


def test_F31_the_loss_of_a_batch_is_per_word_and_takes_the_labelled_positions_alone():
    crf, _, _, _ = drawn(6, [1], 4)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.full((3, 7), IGNORED)
    labels[0, [1, 3, 4]], labels[2, [1, 6]] = torch.tensor([2, 0, 3]), torch.tensor([1, 1])
    value, count = crf_loss(crf, logits, labels)
    by_row = [crf(logits[:1, [1, 3, 4]], labels[:1, [1, 3, 4]]), crf(logits[2:, [1, 6]], labels[2:, [1, 6]])]
    torch.testing.assert_close(value, sum(row.sum() for row in by_row) / 5)
    assert count == 5
    value.backward()
    assert (logits.grad.abs().sum(-1) > 0).equal(labels != IGNORED)
    emissions, attention_mask, places = labelled_first(logits, labels)
    assert attention_mask.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert places[0].tolist() == [1, 3, 4] and torch.equal(emissions[2, :2], logits[2, [1, 6]])
    nothing = crf_loss(crf, logits[1:2], labels[1:2])
    assert nothing.value == 0 and nothing.count == 0


def test_F31_a_new_crf_is_the_softmax_of_F08():
    crf = CRF(4).double()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (3, 5), generator=generator)
    labels[0, 3:], labels[1, 0], labels[2, 2] = IGNORED, IGNORED, IGNORED
    ours, theirs = crf_loss(crf, logits, labels), cross_entropy(logits, labels)
    assert ours.count == theirs.count == 11
    results = [(value, *torch.autograd.grad(value, logits)) for value in (ours.value, theirs.value)]
    assert_close(*results, atol=1e-14)
    assert torch.equal(crf.viterbi(logits)[0], logits.argmax(-1))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (dict(E=torch.zeros(2, 3, 5)), r"E is \[2, 3, 5\] and must be \[B, T, 4\]"),
        (dict(E=torch.zeros(2, 0, 4), y=torch.zeros(2, 0, dtype=torch.long)), "at least one position"),
        (dict(y=torch.full((2, 3), 4)), "y has tags outside 0 … 3"),
        (dict(y=torch.full((2, 3), IGNORED)), "y has tags outside 0 … 3"),
        (dict(attention_mask=torch.tensor([[True, False, True]] * 2)), "a word after padding"),
        (dict(y=torch.tensor([[0, 0, 0], [0, 2, 0]])), "the true tags of sentence 1 of the batch take a step"),
    ],
)
def test_bad_input_is_refused(change, what):
    allowed = torch.ones(5, 5, dtype=torch.bool)
    allowed[0, 2] = False
    good = dict(E=torch.zeros(2, 3, 4), y=torch.zeros(2, 3, dtype=torch.long), attention_mask=None)
    assert CRF(4, allowed)(**good).shape == (2,)
    with pytest.raises(InputError, match=what):
        CRF(4, allowed)(**good | change)
    with pytest.raises(InputError, match=r"allowed is \[5, 5\] and must be \[4, 4\] for 3 tags"):
        CRF(3, allowed)

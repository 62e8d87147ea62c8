"""The NumPy views of writing: a cached step against causal attention, and beam search against brute force and the library."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from writers import gpt

from minilm.errors import InputError
from minilm.formulas.attention import attention, causal_mask
from minilm.formulas.generation import beam_search, beam_step, cache_step, length_normalised
from minilm.layers.attention import KVCache, fused_attention
from minilm.models import generation


@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
def test_F18_a_cached_step_is_the_last_row_of_causal_attention(T, D, seed):
    rng = np.random.default_rng(seed)
    Q, K, V = rng.normal(size=(3, T, D))
    wanted = attention(Q, K, V, causal_mask(T))
    stored, cache = (np.zeros((0, D)), np.zeros((0, D))), KVCache()
    for t in range(T):
        y, *stored = cache_step(Q[t], K[t], V[t], *stored)
        np.testing.assert_allclose(y, wanted[t], atol=1e-13)
        np.testing.assert_array_equal(stored, [K[: t + 1], V[: t + 1]])
        q, k, v = (torch.from_numpy(x[t]).reshape(1, 1, 1, D) for x in (Q, K, V))
        np.testing.assert_allclose(fused_attention(q, *cache.extend(k, v))[0, 0, 0], y, atol=1e-13)


def table(V, seed):
    """A toy language model: P(next ∣ text) depends on the last two tokens."""
    z = np.random.default_rng(seed).normal(size=(V + 1, V + 1, V)) * 2
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return lambda text: log_p[(text[-2:] + (V, V))[:2]]


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_F23_a_wide_beam_finds_the_best_of_all_texts(alpha, seed):
    V, N, log_p = 3, 4, table(3, seed)
    texts = [w for n in range(1, N + 1) for w in itertools.product(range(V), repeat=n)]
    texts = [w for w in texts if 0 not in w[:-1] and (w[-1] == 0 or len(w) == N)]
    scores = {w: length_normalised(sum(log_p(w[:i])[w[i]] for i in range(len(w))), len(w), alpha) for w in texts}
    found = beam_search(log_p, len(texts), N, alpha, end=0)
    assert [text for text, _ in found] == sorted(texts, key=lambda w: -scores[w])
    np.testing.assert_allclose([score for _, score in found], [scores[text] for text, _ in found], atol=1e-12)


def test_F23_one_beam_is_greedy_and_a_narrow_one_can_miss_the_best():
    missed = 0
    for seed in range(30):
        log_p, greedy = table(5, seed), ()
        while len(greedy) < 4 and 0 not in greedy:
            greedy = (*greedy, int(np.argmax(log_p(greedy))))
        ((text, score),) = beam_search(log_p, 1, 4, 0.0, end=0)
        assert text[: len(greedy)] == greedy or text in [greedy[: len(text)]]
        best = beam_search(log_p, 500, 4, 0.0, end=0)[0][1]
        assert score <= best + 1e-12
        missed += score < best - 1e-9
    assert 5 < missed < 30


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_F23_the_library_finds_the_same_beams(alpha):
    model, prompt = gpt(vocab_size=5, seed=3), [1, 4]

    def log_p(text):
        with torch.no_grad():
            return model(torch.tensor([[*prompt, *text]]))[0, -1].log_softmax(-1).numpy()

    for K in (1, 2, 3, 6):
        wanted = beam_search(log_p, K, 5, alpha, end=2)
        found = generation.beam_search(model, prompt, K, 5, alpha, stop={2})
        assert [tuple(text.ids) for text in found] == [text for text, _ in wanted]
        np.testing.assert_allclose([text.score for text in found], [score for _, score in wanted], atol=1e-10)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_F23_a_step_of_the_search_finds_the_best_of_all_continuations(R, V, seed):
    rng = np.random.default_rng(seed)
    total, z = -rng.exponential(5, size=R), rng.normal(size=(R, V)) * 3 + rng.normal(size=(R, 1)) * 50
    K = int(rng.integers(1, R * V + 1))
    log_p = [[total[r] + z[r, w] - torch.logsumexp(torch.tensor(z[r]), 0).item() for w in range(V)] for r in range(R)]
    wanted = sorted(((log_p[r][w], r, w) for r in range(R) for w in range(V)), reverse=True)[:K]
    scores, rows, tokens = beam_step(total, z, K)
    np.testing.assert_allclose(scores, [score for score, _, _ in wanted], rtol=1e-12)
    assert list(zip(rows, tokens, strict=True)) == [(r, w) for _, r, w in wanted]


def test_wrong_shapes_and_no_beams_are_refused():
    q, K = np.ones(3), np.ones((2, 3))
    for change in ((np.ones(4), q, q, K, K), (q, q, q, K, K[:1]), (q, q, q, K[:, :2], K)):
        with pytest.raises(InputError):
            cache_step(*change)
    with pytest.raises(InputError, match="at least 1 beam and 1 token, not 0 and 3"):
        beam_search(table(3, 0), 0, 3)
    with pytest.raises(InputError, match="7 beams were asked for, but there are 6"):
        beam_step(np.zeros(2), np.zeros((2, 3)), 7)

"""The relative bias and rotary positions, in NumPy with their gradients: against the layers, autograd and differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.attention import attention_weights, softmax_gradient
from minilm.formulas.positions import (
    bucket,
    dot_product,
    relative_bias,
    relative_bias_gradient,
    rotate,
    rotate_gradient,
)
from minilm.layers import attention, positions

B, H, T, S, D = 2, 3, 11, 7, 4
BUCKETS, FARTHEST = 8, 6  # small, so that a short text reaches the last bucket on both sides
SETTINGS = [(4, 2), (4, 128), (8, 3), (8, 64), (20, 100), (32, 9), (32, 128), (32, 512), (40, 77), (64, 256)]


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def close(ours, theirs, atol=1e-12):
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


def torch_bias(table, T, S):
    layer = positions.RelativeBias(table.shape[1], BUCKETS, FARTHEST)
    return torch.func.functional_call(layer, {"table": table}, (T, S))[0]


def begins(bucket, buckets, farthest):
    """The distance at which a bucket begins, in whole numbers: the first n with (n / E)^E ≥ (farthest / E)^j, j = bucket − E."""
    E, n = buckets // 4, 1
    j = bucket - E
    while n**E * E**j < farthest**j * E**E:
        n += 1
    return n


# ---- the bucket of a distance


@pytest.mark.parametrize(("buckets", "farthest"), SETTINGS)
def test_F21_the_buckets_of_both_versions_are_equal_and_begin_where_whole_numbers_say(buckets, farthest):
    offset, E = np.arange(-2000, 2001), buckets // 4
    ours = bucket(offset, buckets, farthest)
    assert (ours == positions.bucket(torch.tensor(offset), buckets, farthest).numpy()).all()
    far = [begins(i, buckets, farthest) for i in range(E, 2 * E)]
    before = np.searchsorted([*range(1, E), *far], np.abs(offset), side="right")  # how many buckets begin before it
    assert (ours == before + 2 * E * (offset > 0)).all()


def test_F21_the_buckets_of_the_default_are_those_of_its_docstring():
    firsts = {int(bucket(-n)): n for n in range(200, -1, -1)}
    assert firsts == {**{n: n for n in range(8)}, 8: 8, 9: 12, 10: 16, 11: 23, 12: 32, 13: 46, 14: 64, 15: 91}
    assert (bucket(np.arange(1, 200)) == bucket(-np.arange(1, 200)) + 16).all()


@given(
    st.integers(1, 20),
    st.integers(1, 600),
    st.lists(st.integers(-3000, 3000), min_size=2, max_size=9),
    st.integers(0, 9),
)
def test_F21_buckets_grow_with_the_distance_tell_directions_apart_and_share_the_end(E, beyond, offsets, more):
    buckets, farthest = 4 * E, E + beyond
    n = np.sort(np.abs(offsets))
    before, after = bucket(-n, buckets, farthest), bucket(n, buckets, farthest)
    for each in (before, after[n > 0]):
        assert (np.diff(each) >= 0).all()
    assert ((before >= 0) & (before < 2 * E)).all() and (after[n > 0] - before[n > 0] == 2 * E).all()
    assert (before[n < E] == n[n < E]).all()
    assert (
        bucket(-farthest - more, buckets, farthest) == 2 * E - 1
        and bucket(farthest + more, buckets, farthest) == 4 * E - 1
    )


# ---- the bias


def test_F21_the_bias_reads_the_table_at_the_bucket_of_each_pair(rng):
    table = rng.normal(size=(BUCKETS, H))
    b = relative_bias(table, T, S, FARTHEST)
    assert b.shape == (H, T, S)
    for h, t, s in np.ndindex(b.shape):
        assert b[h, t, s] == table[bucket(s - t, BUCKETS, FARTHEST), h]


@pytest.mark.parametrize(("T", "S"), [(T, S), (S, T), (1, S), (T, 1)])
def test_F21_the_bias_and_its_gradient_equal_the_layer_and_finite_differences(T, S, rng):
    table, dZ = rng.normal(size=(BUCKETS, H)), rng.normal(size=(H, T, S))
    value, gradient = autograd(lambda t: torch_bias(t, T, S), table, upstream=dZ)
    close(relative_bias(table, T, S, FARTHEST), value, atol=0)
    ours = relative_bias_gradient(table, T, S, dZ, FARTHEST)
    close(ours, gradient)
    close(ours, finite_differences(lambda t: float((relative_bias(t, T, S, FARTHEST) * dZ).sum()), table), atol=1e-8)


def test_F21_the_gradient_of_a_bucket_is_the_sum_over_its_pairs(rng):
    table, dZ = rng.normal(size=(BUCKETS, H)), rng.normal(size=(B, H, T, S))
    index = bucket(np.arange(S) - np.arange(T)[:, None], BUCKETS, FARTHEST)
    ours = relative_bias_gradient(table, T, S, dZ, FARTHEST)
    for i in range(BUCKETS):
        close(ours[i], dZ[:, :, index == i].sum(axis=(0, 2)))
    lost = np.zeros(table.shape)
    lost[index] += dZ.sum(axis=0).transpose(1, 2, 0)  # the mistake: only one of the pairs of a bucket is kept
    assert np.abs(lost - ours).max() > 0.1


@pytest.mark.parametrize("masked", [False, True])
def test_F21_with_F18_it_is_the_gradient_of_attention_with_a_bias(masked, rng):
    """softmax(QKᵀ/√D + b)V: the gradient of the scores goes to the table as it is, without the 1/√D of Q and K."""
    Q, K, V = (rng.normal(size=(B, H, length, D)) for length in (T, S, S))
    table, dY = rng.normal(size=(BUCKETS, H)), rng.normal(size=(B, H, T, D))
    may_attend = rng.random(size=(B, 1, T, S)) < 0.7 if masked else np.ones((B, 1, T, S), dtype=bool)
    may_attend[..., 2] = True
    mask = torch.tensor(may_attend)
    _, dQ, dK, dV, dtable = autograd(
        lambda q, k, v, t: attention.attention(q, k, v, mask, bias=torch_bias(t, T, S))[0], Q, K, V, table, upstream=dY
    )
    # exp(z + b) = exp(z) exp(b): weigh the weights without a bias by exp(b), and norm them again
    A = attention_weights(Q, K, may_attend) * np.exp(relative_bias(table, T, S, FARTHEST))
    A /= A.sum(axis=-1, keepdims=True)
    dZ = softmax_gradient(A, dY @ V.swapaxes(-1, -2))
    close(relative_bias_gradient(table, T, S, dZ, FARTHEST), dtable)
    close(dZ @ K / np.sqrt(D), dQ)
    close(dZ.swapaxes(-1, -2) @ Q / np.sqrt(D), dK)
    close(A.swapaxes(-1, -2) @ dY, dV)


def test_F21_a_bias_knows_the_direction_and_waves_do_not(rng):
    b = relative_bias(rng.normal(size=(BUCKETS, H)), T, T, FARTHEST)
    off = ~np.eye(T, dtype=bool)
    assert (np.abs(b - b.swapaxes(1, 2))[:, off] > 1e-3).all()  # before and after are different entries of the table
    offset = np.arange(1, 30)
    close(dot_product(offset, 8), dot_product(-offset, 8), atol=0)


# ---- rotary positions


def test_F21_rotation_equals_the_layer_and_complex_numbers(rng):
    X, position = rng.normal(size=(B, H, T, D)), rng.integers(500, size=T)
    ours = rotate(X, position)
    close(ours, positions.rotate(torch.tensor(X), torch.tensor(position)[None]).numpy())
    turned = (X[..., : D // 2] + 1j * X[..., D // 2 :]) * np.exp(1j * np.outer(position, [1, 10000 ** (-2 / D)]))
    close(ours, np.concatenate([turned.real, turned.imag], axis=-1))
    own = rng.integers(500, size=(B, T))  # each text with positions of its own
    close(
        rotate(X, np.broadcast_to(own[:, None], (B, H, T)), base=50.0),
        positions.rotate(torch.tensor(X), torch.tensor(own), base=50.0).numpy(),
    )


def test_F21_the_gradient_of_a_rotation_is_the_opposite_rotation(rng):
    X, dY, position = rng.normal(size=(H, T, D)), rng.normal(size=(H, T, D)), rng.integers(99, size=T)
    theirs = autograd(lambda x: positions.rotate(x[None], torch.tensor(position)[None])[0], X, upstream=dY)[1]
    ours = rotate_gradient(position, dY)
    close(ours, theirs)
    close(ours, finite_differences(lambda x: float((rotate(x, position) * dY).sum()), X), atol=1e-8)
    assert np.abs(rotate(dY, position) - theirs).max() > 0.1  # the mistake: turned on instead of back
    close(rotate(rotate(X, position), -position), X)


@given(st.integers(1, 5), st.integers(-300, 300), st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 99))
def test_F21_rotary_scores_depend_on_the_distance_alone_and_lengths_stay(half, t, s, k, seed):
    q, key = np.random.default_rng(seed).normal(size=(2, 2 * half))
    score = rotate(q, t) @ rotate(key, s)
    close(rotate(q, t + k) @ rotate(key, s + k), score, atol=1e-10)  # the text moved by k
    close(q @ rotate(key, s - t), score, atol=1e-10)  # R_tᵀ R_s = R_{s−t}
    close(np.linalg.norm(rotate(q, t)), np.linalg.norm(q))
    if t != s and half == 1:  # sin(s − t) is 0 for no whole number but 0, so the direction matters
        assert abs(q @ rotate(key, t - s) - score) > 1e-9


# ---- bad input


def test_F21_bad_input_is_named(rng):
    table, dZ = rng.normal(size=(BUCKETS, H)), rng.normal(size=(H, T, S))
    for buckets in (0, 2, 6, -4):
        with pytest.raises(InputError, match=f"buckets must be a multiple of 4, not {buckets}"):
            bucket(3, buckets)
    with pytest.raises(InputError, match="farthest must be above 8 with 32 buckets, not 8"):
        bucket(3, farthest=8)
    with pytest.raises(InputError, match="offset has the type float64, but tokens are counted"):
        bucket(np.array([1.5]))
    with pytest.raises(InputError, match="table has shape"):
        relative_bias(table[0], T, S)
    with pytest.raises(InputError, match="buckets must be a multiple of 4, not 7"):
        relative_bias(table[:7], T, S)
    with pytest.raises(InputError, match="T is 0, but a length must be"):
        relative_bias(table, 0, S)
    with pytest.raises(InputError, match="S is -1, but a length must be"):
        relative_bias(table, T, -1)
    with pytest.raises(
        InputError, match=r"dZ has shape \[3, 7, 11\], but must end in the shape of the bias, \[3, 11, 7\]"
    ):
        relative_bias_gradient(table, T, S, dZ.swapaxes(1, 2), FARTHEST)
    with pytest.raises(InputError, match="D is 3, but waves come in pairs"):
        rotate(np.ones((T, 3)), np.arange(T))
    with pytest.raises(InputError, match="position has the type float64"):
        rotate(np.ones((T, D)), np.ones(T))
    for wrong in (np.arange(S), np.zeros((T, 1), dtype=int), np.zeros((2, 1, T), dtype=int)):
        with pytest.raises(InputError, match=r"position has shape .*, but must have one entry per vector, \[11\]"):
            rotate(np.ones((T, D)), wrong)
